"""Runs as array jobs of Slurm: scripts that somebody looks at and submits."""

import hashlib
import os
import shlex
from dataclasses import replace
from pathlib import Path

from training.fleet import command
from training.run import write_whole

MARGIN = 5  # minutes before a job's end at which its run writes a checkpoint and stops

JOB = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --time={minutes}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}{gpus}
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --output={folder}/slurm-%A_%a.log
# Trains line SLURM_ARRAY_TASK_ID of {runs}; a run that the time does not suffice for is queued again and goes on.
cd {project} || exit 1
export OMP_NUM_THREADS={cpus} KERAS_BACKEND={backend}
eval "exec $(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {runs})" &
trap 'kill -TERM $!' TERM
wait $!
code=$?
while kill -0 $! 2>/dev/null; do wait $!; code=$?; done  # where the signal ended the waiting, not yet the run
case $code in
124 | 143) scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" ;;
*) exit $code ;;
esac
"""


def write_jobs(name, runs, folder, cpus, gpus, minutes):
    """Writes the array jobs of what is not finished and `submit.sh`, which queues them; returns that one's path.

    Runs that start from others are a second array, which waits for the first.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [planned for planned in runs if not planned.is_finished()]
    waves = [[planned for planned in waiting if bool(planned.needs) == is_second] for is_second in (False, True)]
    submit, condition = ["#!/bin/bash", "set -e"], ""
    for number, wave in enumerate(filter(None, waves)):
        limit = float(max(minutes - MARGIN, 1))
        commands = [shlex.join(command(replace(planned.config, max_minutes=limit))) for planned in wave]
        listed = ("\n".join(commands) + "\n").encode()
        # Jobs read their list when they begin: one that waits since an earlier call must find that call's.
        lines = folder / f"slurm-runs-{hashlib.sha256(listed).hexdigest()[:8]}.txt"
        job = folder / f"slurm-job-{number}.sh"
        write_whole(folder, lines.name, listed)
        text = JOB.format(
            name=name,
            last=len(wave) - 1,
            minutes=minutes,
            cpus=cpus,
            gpus=f"\n#SBATCH --gpus-per-task={gpus}" if gpus else "",
            backend=os.environ["KERAS_BACKEND"],
            folder=folder,
            runs=shlex.quote(str(lines)),
            project=shlex.quote(os.getcwd()),
        )
        write_whole(folder, job.name, text.encode())
        submit.append(f'first=$(sbatch --parsable {condition}{shlex.quote(str(job))}); echo "queued as job $first"')
        condition = "--dependency=afterany:$first "  # a run whose source failed says so itself
    write_whole(folder, "slurm-submit.sh", ("\n".join(submit) + "\n").encode())
    return folder / "slurm-submit.sh"

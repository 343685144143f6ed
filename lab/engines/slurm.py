"""Runs as array jobs of Slurm: scripts for a user to read and submit."""

import hashlib
import os
import shlex
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

from foundation import backend
from foundation.errors import UserError
from foundation.files import write_whole
from lab.engines.fleet import FAILURE, TRAIN, command

MARGIN = 5  # minutes before a job's end at which its run writes a checkpoint and stops

JOB = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --time={minutes}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}{gpus}
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --output="{output}/slurm-%A_%a.log"
# Trains line SLURM_ARRAY_TASK_ID of {runs}; a run that the time does not suffice for is queued again and goes on.
# A line: the run's folder, that of the run which it starts from, if any, and the command. Why a run failed stays in its folder.
cd {project} || exit 1
export OMP_NUM_THREADS={cpus} KERAS_BACKEND={backend}
eval "line=($(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {runs}))"
failure=${{line[0]}}/{failure}
mkdir -p "${{line[0]}}" && rm -f "$failure"
(
    [ -z "${{line[1]}}" ] || PYTHONPATH={home}:$PYTHONPATH {python} -c {check} "${{line[1]}}" || exit
    exec "${{line[@]:2}}"
) &
trap 'kill -TERM $!' TERM
wait $!
code=$?
while kill -0 $! 2>/dev/null; do wait $!; code=$?; done  # where the signal ended the waiting, not yet the run
case $code in
0) ;;
124 | 143) scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" ;;
*)
    last=$(tail -n 1 {logs}/slurm-"${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}".log)
    echo "${{last:-no word}} (exit code $code)" > "$failure.part" && mv "$failure.part" "$failure"
    exit $code
    ;;
esac
"""

# Fails with one line if the run of a folder is not finished: an arm must not start from half a training.
CHECK = """import sys
from foundation.scripts import run_script
from lab.runs.run import Run
run_script(lambda: Run.find(sys.argv[1], ".").check_finished())"""


def write_jobs(name, runs, folder, cpus, gpus, minutes) -> Path:
    """Write the array jobs of unfinished runs and `slurm-submit.sh`, which queues them; return that script's path.

    Runs that start from others are a second array, which waits for the first.
    """
    folder = Path(folder).resolve()
    _check_folder(folder)
    waiting = [planned for planned in runs if not planned.is_finished()]
    waves = [[planned for planned in waiting if bool(planned.needs) == is_second] for is_second in (False, True)]
    for text in (os.getcwd(), sys.executable, str(TRAIN), *(word for planned in waiting for word in _words(planned, 1.0))):
        _check_line(text)
    folder.mkdir(parents=True, exist_ok=True)
    submit, condition = ["#!/bin/bash", "set -e"], ""
    for number, wave in enumerate(filter(None, waves)):
        limit = float(max(minutes - MARGIN, 1))
        listed = os.fsencode("".join(_line(planned, limit) for planned in wave))
        # A job reads its list when it begins, so a job that an earlier call queued must still find that call's list.
        lines = folder / f"slurm-runs-{hashlib.sha256(listed).hexdigest()[:8]}.txt"
        job = folder / f"slurm-job-{number}.sh"
        write_whole(folder, lines.name, listed)
        text = _job(lines, name=name, last=len(wave) - 1, minutes=minutes, cpus=cpus, gpus=gpus)
        write_whole(folder, job.name, os.fsencode(text))
        submit.append(f'first=$(sbatch --parsable {condition}{shlex.quote(str(job))}); echo "queued as job $first"')
        condition = "--dependency=afterany:$first "  # not afterok: one failed source would stop what starts from the others
    write_whole(folder, "slurm-submit.sh", os.fsencode("\n".join(submit) + "\n"))
    return folder / "slurm-submit.sh"


def _job(lines, gpus, **numbers):
    """Return the text of the array job whose runs the file `lines` lists."""
    folder = lines.parent
    return JOB.format(
        gpus=f"\n#SBATCH --gpus-per-task={gpus}" if gpus else "",
        backend=backend.name(),
        output=str(folder).replace("%", "%%"),
        logs=shlex.quote(str(folder)),
        runs=shlex.quote(str(lines)),
        project=shlex.quote(os.getcwd()),
        failure=FAILURE,
        home=shlex.quote(str(TRAIN.parent)),
        python=shlex.quote(sys.executable),
        check=shlex.quote(CHECK),
        **numbers,
    )


def _line(planned, limit):
    """Return the line that a job's script reads for a run."""
    return shlex.join(_words(planned, limit)) + "\n"


def _words(planned, limit):
    source = str(planned.needs.run.output) if planned.needs else ""
    return [str(planned.run.output), source, *command(replace(planned.config, max_minutes=limit))]


def _check_line(text):
    """Raise a UserError for text that can't stand on a line of a script, such as a path with a newline."""
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in text):
        raise UserError(f"{text!r} holds a control character, such as a newline: scripts of Slurm can't name it")


def _check_folder(folder):
    """Raise a UserError if Slurm can't be told that its logs go to the folder."""
    _check_line(str(folder))
    if set(str(folder)) & {'"', "\\"}:
        raise UserError(f"{folder} holds a quotation mark or a backslash: Slurm can't be told to write its logs there")

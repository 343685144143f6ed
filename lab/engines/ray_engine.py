"""Runs as tasks of a Ray cluster (`pip install ray`): each on some machine with room for it, again on another if that dies."""

import logging
import os
import re
import socket
import subprocess
import time
from dataclasses import replace

from foundation import backend
from foundation.errors import UserError
from foundation.files import open_to_append
from lab.runs.run import Run


class OnRay:
    """Starts runs as Ray tasks with so many cores and GPUs each; Ray decides how many at once.

    All machines must have this project, its Python and the folders of the study at the same paths. `address` is the
    cluster's, such as "auto" or "ray://head:10001"; None starts one on this machine.
    """

    RETRIES = 10  # of a task whose machine died

    def __init__(self, address, cpus, gpus, jobs):
        try:
            import ray
        except ImportError as error:
            raise UserError("engine 'ray' needs the package ray: pip install -r requirements/ray.txt") from error
        self.ray, self.jobs = ray, jobs
        try:
            _reach(address)  # Ray itself would try for minutes
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"no Ray cluster at address {address!r}: {error}") from error
        self.task = ray.remote(max_retries=self.RETRIES, num_cpus=cpus, num_gpus=gpus)(_train)
        self.environment = {"OMP_NUM_THREADS": str(cpus), "KERAS_BACKEND": backend.name()}

    def start(self, planned):
        from lab.engines.fleet import command  # with Keras, which the tasks do without

        line, output = command(planned.config), planned.run.output.resolve()
        config = replace(planned.config, run=output.name, output_dir=str(output.parent))
        return _Task(self.ray, self.task.remote(line, self.environment, os.getcwd(), config, output / planned.log.name))


def _reach(address):
    """Raise OSError where nobody listens at HOST:PORT or ray://HOST:PORT."""
    found = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address or "")
    if found:
        socket.create_connection((found[1], int(found[2])), timeout=10).close()


class _Task:
    """A Ray task with what a process has."""

    def __init__(self, ray, reference):
        self.ray, self.reference = ray, reference

    def poll(self):
        """Return the exit code, None while there is none."""
        if not self.ray.wait([self.reference], timeout=0)[0]:
            return None
        try:
            return self.ray.get(self.reference)
        except self.ray.exceptions.RayError:  # the retries are used up; the run's log says how far it came
            return 1

    def terminate(self):
        self.ray.cancel(self.reference)

    def wait(self):
        self.ray.wait([self.reference])


def _train(command, environment, folder, config, log):
    """Train the run of a config in a process of its own, on whatever machine this is; return the exit code."""
    run = Run.of(config)
    # Of a task that died its process may have been left: it is no worse than ours would be.
    while run.is_being_written():
        time.sleep(1)
    if run.is_finished(config):
        return 0
    with open_to_append(log) as file:
        how = {"stdin": subprocess.DEVNULL, "cwd": folder, "env": os.environ | environment}
        process = subprocess.Popen(command, stdout=file, stderr=file, **how)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()

"""Python with Keras imported, from which processes for tests are forked: `python zygote.py SOCKET OWNER` with KERAS_BACKEND set.

A new interpreter spends four seconds and more on importing Keras; a fork has it at once. Every pytest process of a test run may
connect to the socket. Each command is a line of JSON, answered with one: `start` forks a process that runs a script, a module or
a program's text, as `python ...` would; `poll` tells its exit code, None while it runs, and the processor time that it took.
"""

import atexit
import base64
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

from processes import is_alive

ROOT = Path(__file__).parent.parent
OF_STUDIES = ("lab.reports.pictures", "lab.studies.study", "lab.engines.fleet")
WORKER = "lab.benchmarks.worker"
# A PNG of one pixel.
DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")


def import_what_scripts_import():
    """All that most scripts of this project import; nothing of it may start a thread, which no fork would have."""
    import matplotlib.pyplot  # noqa: F401
    import sklearn.datasets  # noqa: F401

    for module in ("dispatcher", "evaluate", "train", "foundation.flags", "lab.training.experiment", *OF_STUDIES, WORKER):
        importlib.import_module(module)
    from models.architecture import resnet_cifar

    # A compiler takes its time for each layer: this network is for what any network can show.
    sys.modules["dispatcher"].MODELS["one-block"] = resnet_cifar(1, filters=(16,))


class Run:
    """A study's run as a process forked of the study's own, with what of `subprocess.Popen` lab.engines.fleet uses."""

    def __init__(self, command, log, environment):
        own = {"arguments": command[1:], "cwd": os.getcwd(), "draws": False, "environment": dict(environment)}
        self.returncode, self.pid = None, start(own | dict.fromkeys(("stdout", "stderr"), log.fileno()), is_leader=True)

    def poll(self):
        if self.returncode is None:
            self.returncode, _ = poll(self.pid)
        return self.returncode

    def terminate(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def wait(self):
        while self.poll() is None:
            time.sleep(0.02)
        return self.returncode


class Contestant:
    """A contestant as a process forked of the benchmark's own, with what of `subprocess.Popen` lab.benchmarks.worker uses."""

    def __init__(self, command, stderr, cwd, env):
        (asked, asks), (answers, answered) = os.pipe(), os.pipe()
        own = {"arguments": command[1:], "cwd": cwd, "draws": False, "environment": env, "closed": (asks, answers)}
        sys.stdout.flush()  # or the fork would, too
        self.returncode, self.pid = None, start(own | {"stdin": asked, "stdout": answered, "stderr": stderr.fileno()})
        os.close(asked)
        os.close(answered)
        self.stdin, self.stdout = os.fdopen(asks, "w"), os.fdopen(answers)

    def wait(self):
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self):
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def communicate(self):
        self.stdin.close()
        self.stdout.close()
        self.wait()


def start_contestant(command, *, env, stdin, stdout, text, **how):
    if env["KERAS_BACKEND"] == os.environ["KERAS_BACKEND"]:
        return Contestant(command, env=env, **how)
    return subprocess.Popen(command, env=env, stdin=stdin, stdout=stdout, text=text, **how)


def become(command):
    """Makes this process, just forked, what `python *arguments` would be; returns its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["environment"])
    for number in command.get("closed", ()):
        os.close(number)
    os.dup2(command["stdin"] if "stdin" in command else os.open(os.devnull, os.O_RDONLY), 0)
    for number, target in ((1, command["stdout"]), (2, command["stderr"])):  # a path or an open file's number
        os.dup2(target if isinstance(target, int) else os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.modules["lab.engines.fleet"].start_process = Run
    sys.modules[WORKER].subprocess = SimpleNamespace(Popen=start_contestant, PIPE=subprocess.PIPE)
    if not command["draws"]:
        sys.modules["foundation.style"].image_of = lambda figure, kind, dpi=None: DOT
    if "WORLD_SIZE" in os.environ:
        importlib.reload(sys.modules["foundation.replicas"])  # it asks when it is imported who else trains
    first, *sys.argv[1:] = command["arguments"]
    try:
        if first == "-c":
            program, sys.argv = sys.argv[1], ["-c", *sys.argv[2:]]
            sys.path[0] = ""
            main = sys.modules["__main__"] = type(sys)("__main__")
            exec(compile(program, "<string>", "exec"), main.__dict__)
        elif first == "-m":
            sys.path[0] = ""
            runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
        else:
            sys.argv[0], sys.path[0] = first, os.path.dirname(os.path.abspath(first))
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return 1 if isinstance(end.code, str) else end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def start(command, is_leader=False):
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        if is_leader:
            os.setsid()
        code = become(command)
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
    finally:
        os._exit(code)


def poll(process):
    """(exit code or None, seconds of processor time)."""
    found, status, usage = os.wait4(process, os.WNOHANG)
    return (None, 0.0) if not found else (os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime)


def serve(path, owner):
    """Answers commands from every connection to a socket at this path, until the path or the process `owner` is gone."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen()
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    os.rename(f"{path}.new", path)
    while os.path.exists(path) and is_alive(owner):
        for key, _ in waiting.select(timeout=1):
            if key.fileobj is listener:
                connection, _ = listener.accept()
                waiting.register(connection, selectors.EVENT_READ, connection.makefile("rw"))
            elif not answered(key.data):
                waiting.unregister(key.fileobj)


def answered(stream):
    """Answers the next command of a connection; returns whether there was one."""
    with contextlib.suppress(OSError):  # who asked has ended
        if line := stream.readline():
            command = json.loads(line)
            answer = start(command) if "arguments" in command else poll(command["poll"])
            print(json.dumps(answer), file=stream, flush=True)
            return True
    return False


def main():
    path, owner = sys.argv[1:]
    sys.path[0] = str(ROOT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, where it is meant for pytest
    import_what_scripts_import()
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1
    serve(path, int(owner))


if __name__ == "__main__":
    main()

"""Downloads into a `data_dir`: of processes that want the same data at once, one fetches it."""

import contextlib

import filelock


@contextlib.contextmanager
def downloading(data_dir, name):
    """Hold a data set while the block runs. Who had to wait may find it there: look again before you fetch it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(data_dir / f".{name}.lock")
    try:
        lock.acquire(timeout=0.2)
    except filelock.Timeout:
        print(f"waiting for another process, which downloads {name} to {data_dir}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

"""A stopwatch: seconds that calls take."""

import time


def seconds_of(call, calls=1, wait=None) -> float:
    """Return the seconds of so many calls; `wait`, if given, waits for a device before the first and after the last."""
    if wait:
        wait()
    began = time.perf_counter()
    for _ in range(calls):
        call()
    if wait:
        wait()
    return time.perf_counter() - began

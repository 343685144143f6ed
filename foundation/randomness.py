"""The one place that draws random numbers: every draw has an address, none depends on draws before it."""

import zlib

import numpy as np


def generator(seed, purpose, epoch=0, step=0):
    """Return a NumPy generator that is a function of (seed, purpose, epoch, step) alone, on all machines and backends."""
    return np.random.default_rng((seed, zlib.crc32(purpose.encode()), epoch, step))

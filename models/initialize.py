"""Initial weights that are a function of the seed and of the weight's path, the same on every backend."""

import numpy as np

from foundation.randomness import generator


def initialize(model, seed):
    """Give kernels their initial values (he-normal) and random draws their address; other weights keep their constants."""
    for variable in model.variables:
        if variable.name == "kernel":
            variable.assign(he_normal(variable.shape, generator(seed, variable.path)))
        elif variable.name == "address":
            variable.assign(int(generator(seed, variable.path).integers(2**30)))


def he_normal(shape, random):
    """Normal with variance 2 / fan_in (He et al. 2015b, eq. 10), cut at two standard deviations as Keras cuts it."""
    draws = random.standard_normal(shape)
    while np.any(outside := np.abs(draws) > 2.0):
        draws[outside] = random.standard_normal(int(outside.sum()))
    fan_in = np.prod(shape[:-1])
    cut_deviation = 0.87962566103423978  # of a standard normal cut at two
    return (draws * np.sqrt(2.0 / fan_in) / cut_deviation).astype("float32")

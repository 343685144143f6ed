"""Stochastic depth, and the random bits that a layer can draw by address on every backend."""

import operator

import keras
from keras import ops

from foundation import replicas
from models.layers import FUSED, register


@register
class StochasticDepth(keras.layers.Layer):
    """In training, zeroes an image's branch with chance `rate` and divides the others by `1 - rate` (Huang et al. 2016).

    An image's draw is a function of its place in the batch and of `address`, a weight that `models.initialize` sets from the
    seed and that every training step raises by one, so that a resumed run goes on with the same draws. Of processes that train
    together, each knows its own share of a batch only, and takes the places that its images would have if all shares were
    equal. In a batch that can't be divided evenly, two images may therefore share a draw.
    """

    def __init__(self, rate, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape):
        self.address = self.add_weight(name="address", shape=(), initializer="zeros", dtype="int32", trainable=False)

    def call(self, x, training=False):
        if not training:
            return x
        count = ops.shape(x)[0]
        draws = uniforms(self.address, count, first=replicas.SHARD_INDEX * count)
        raise_by_one(self.address)
        kept = ops.cast(draws >= self.rate, "float32") / (1.0 - self.rate)
        return x * ops.cast(kept, x.dtype)[:, None, None, None]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"rate": self.rate}


def uniforms(address, count, first=0):
    """Return `(count,)` float32 numbers in [0, 1), from place `first` on of the sequence that belongs to an int32 address.

    They are a hash of 32 bits of address and place, the same on every backend and machine.
    """
    places = first + ops.arange(1, count + 1, dtype="int32")
    bits = ops.convert_to_tensor(address) * 0x9E3779B - places * 0x61C88647
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        bits = _fold(bits, shift) * factor
    return ops.cast(_and(_fold(bits, 16), 2**24 - 1), "float32") / 2.0**24


def _fold(bits, shift):
    """Return `bits ^ (bits >> shift)` with zeros from the left."""
    return _xor(bits, _and(_shift(bits, shift), 2 ** (32 - shift) - 1))


# On torch by operators: `keras.ops` would bring the numbers to the device as tensors, at every step.
_and, _xor, _shift = (
    (operator.and_, operator.xor, operator.rshift) if FUSED else (ops.bitwise_and, ops.bitwise_xor, ops.right_shift)
)


def raise_by_one(variable):
    """Add 1 to a variable, in place."""
    variable.assign(variable.value + 1)

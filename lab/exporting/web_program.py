"""A network as a program for `web_network.js`: operations by name, and the weights that they read in one block of bytes."""

import numpy as np
from keras import layers, ops

from foundation.errors import RunFailure
from lab.exporting.steps import ADD, steps_of
from models.attention import CBAM, SqueezeExcite
from models.folding import fold_norms
from models.layers import AveragePool2x2, Conv2D, MaxPool3x3, PadChannels
from models.norms import (
    BatchInstanceNorm,
    BatchNorm,
    BatchNormFromScratch,
    EvoNormS0,
    Folded,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    NoNorm,
)
from models.stochastic_depth import StochasticDepth

LEVELS = 32767  # of a weight on each side of zero: the largest of a channel is one of them


class Program:
    """Operations, each with the numbers of the results that it reads (0 are the pixels), and coded weights."""

    def __init__(self):
        self.operations, self.tensors, self.block = [], [], bytearray()

    def add(self, kind, *reads, weights=None, **options) -> int:
        """Append an operation with weights {name: array or variable}; kernels are coded. Return the number of its result."""
        weights = {name: self._tensor(value, name == "kernel") for name, value in (weights or {}).items() if value is not None}
        named = {"weights": list(weights)} if weights else {}
        self.operations.append({"kind": kind, "reads": reads, **options, **named, **weights})
        return len(self.operations)

    def _tensor(self, value, is_coded):
        value = ops.convert_to_numpy(value).astype("<f4")
        entry = {"size": value.size, "at": len(self.block)}
        if is_coded:
            coded, steps = code(value)
            entry["steps"] = steps.size
            self.block += coded.tobytes() + bytes(-coded.nbytes % 4) + steps.tobytes()
        else:
            self.block += value.tobytes()
        self.tensors.append(entry)
        return len(self.tensors) - 1


def code(kernel):
    """Return (whole numbers of 16 bits, float32 step of each output channel) whose products are within half a step of a kernel.

    A step is the channel's largest weight over LEVELS, so that an error is at most 1 / 65,534 of it.
    """
    largest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1)))
    steps = (np.where(largest > 0, largest, 1.0) / LEVELS).astype("<f4")
    return np.clip(np.rint(kernel / steps), -LEVELS, LEVELS).astype("<i2"), steps


def program_of(model) -> Program:
    """Return the Program of a Network's function at inference, norms folded. Raises RunFailure for layers that have none."""
    program, numbers = Program(), [0]
    for step in steps_of(fold_norms(model)):
        reads = [numbers[i] for i in step.reads]
        if isinstance(step.what, str):
            kind = ("add", {}) if step.what == ADD else ("activation", {"name": step.what})
            numbers.append(program.add(kind[0], *reads, **kind[1]))
        elif type(step.what) in OPERATIONS:
            numbers.append(OPERATIONS[type(step.what)](program, step.what, *reads))
        else:
            raise RunFailure(f"layer '{step.name}' ({type(step.what).__name__}) is not known to the page's JavaScript")
    return program


def _convolution(program, layer, x):
    options = {name: getattr(layer, name) for name in ("size", "stride", "groups", "filters")}
    padding = layer.padding if layer.stride > 1 else "same"  # without a stride they are the same
    return program.add("convolution", x, weights=_of(layer, "kernel", "bias"), padding=padding, **options)


def _of(layer, *names):
    """{name: weight} of a layer; None for what it has not."""
    return {name: getattr(layer, name, None) for name in names}


def _dense(program, layer, x):
    return program.add("dense", x, weights=_of(layer, "kernel", "bias"), filters=layer.units)


def _rescaling(program, layer, x):
    return program.add("scale", x, weights={"gamma": np.asarray(layer.scale), "beta": np.asarray(layer.offset)})


def _constants(program, norm, x):
    return program.add("scale", x, weights=dict(zip(("gamma", "beta"), norm.constants(), strict=True)))


def _normalise(groups_of):
    def normalise(program, norm, x):
        return program.add("normalise", x, weights=_of(norm, "gamma", "beta"), groups=groups_of(norm), epsilon=norm.epsilon)

    return normalise


def _batch_instance(program, norm, x):
    """The sum of the two norms that the gate mixes."""
    mean, variance, gamma, beta, gate = (
        ops.convert_to_numpy(w).astype("float64")
        for w in (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta, norm.gate)
    )
    scale = gamma * gate / np.sqrt(variance + norm.epsilon)
    batch = program.add("scale", x, weights={"gamma": scale, "beta": beta - mean * scale})
    own = {"gamma": gamma * (1.0 - gate), "beta": np.zeros_like(beta)}
    return program.add("add", batch, program.add("normalise", x, weights=own, groups=gamma.size, epsilon=norm.epsilon))


def _evonorm(program, norm, x):
    return program.add("evonorm", x, weights=_of(norm, "gamma", "beta", "v"), groups=norm.groups, epsilon=norm.epsilon)


def _mlp(program, attention, x):
    return _dense(program, attention.excite, program.add("activation", _dense(program, attention.squeeze, x), name="relu"))


def _gated(program, x, gate):
    return program.add("multiply", x, program.add("activation", gate, name="sigmoid"))


def _squeeze_excite(program, attention, x):
    return _gated(program, x, _mlp(program, attention, program.add("mean", x)))


def _cbam(program, attention, x):
    x = _gated(program, x, program.add("add", *(_mlp(program, attention, program.add(kind, x)) for kind in ("mean", "max"))))
    return _gated(program, x, _convolution(program, attention.locate, program.add("ofChannels", x)))


def _plain(kind, *names):
    """An operation without weights, with these options of its layer."""
    return lambda program, layer, *reads: program.add(kind, *reads, **{name: getattr(layer, name) for name in names})


def _nothing(program, layer, x):
    return x


OPERATIONS = {
    layers.Rescaling: _rescaling,
    layers.GlobalAveragePooling2D: _plain("mean"),
    layers.GlobalMaxPooling2D: _plain("max"),
    layers.Concatenate: _plain("concatenate"),
    layers.Dense: _dense,
    Conv2D: _convolution,
    BatchNorm: _constants,
    BatchNormFromScratch: _constants,
    NoNorm: _constants,
    InstanceNorm: _normalise(lambda norm: norm.gamma.shape[0]),
    LayerNorm: _normalise(lambda norm: 1),
    GroupNorm: _normalise(lambda norm: norm.groups),
    BatchInstanceNorm: _batch_instance,
    EvoNormS0: _evonorm,
    SqueezeExcite: _squeeze_excite,
    CBAM: _cbam,
    AveragePool2x2: _plain("averagePool", "stride"),
    MaxPool3x3: _plain("maxPool"),
    PadChannels: _plain("padChannels", "stride", "filters"),
    StochasticDepth: _nothing,
    Folded: _nothing,
}

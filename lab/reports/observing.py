"""Looking at what layers take and give while a network runs, and changing it."""

import contextlib
from functools import partial
from threading import RLock

from keras import ops

ONE_AT_A_TIME = RLock()  # threads may share a network, as the dashboard's browsers do, and a layer has one `call`


@contextlib.contextmanager
def replaced_calls(layers, replacement):
    """While the block runs, calling the i-th layer with x means `replacement(i, call, x)`, where `call(x)` is its own.

    Also of layers inside a residual block, which calls its parts without Keras' ceremony. The model must be called as a
    function: what is compiled (`predict` on jax and tensorflow) runs no Python. Other threads wait for the block's end.
    """
    with ONE_AT_A_TIME:
        for i, layer in enumerate(layers):
            layer.call = partial(replacement, i, layer.call)
        try:
            yield
        finally:
            for layer in layers:
                del layer.call  # the class' own is seen again


def observed(layers, note):
    """While the block runs, every call of these layers is told to `note(layer, input, output)`, arrays, in the order of calls."""

    def telling(i, call, x, *args, **kwargs):
        taken = _copy(x)  # an operation may overwrite what it is given
        result = call(x, *args, **kwargs)
        note(layers[i], taken, _copy(result))
        return result

    return replaced_calls(layers, telling)


def _copy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32")).copy()

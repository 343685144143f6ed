"""Weights of a `.keras` file of stock layers, as export.py writes it and Keras saves it again after training.

They are read as data: no layer is built and nothing of the file is executed. Its JSON names layers and its HDF5 holds arrays.
"""

import io
import zipfile

import h5py
import numpy as np

from foundation.errors import UserError, first_line, normal
from foundation.files import LARGEST as LARGEST_JSON
from foundation.files import parse_json, read_regular
from lab.runs.checkpoints import LARGEST

# Weights of a layer in the order in which Keras numbers them, each with the option that leaves it out where it is false.
WEIGHTS = {
    "Conv2D": (("kernel", None), ("bias", "use_bias")),
    "Dense": (("kernel", None), ("bias", "use_bias")),
    "BatchNormalization": (("gamma", "scale"), ("beta", "center"), ("moving_mean", None), ("moving_variance", None)),
    "GroupNormalization": (("gamma", "scale"), ("beta", "center")),
}


def read_stock_weights(path, wanted):
    """Return ({path: array}, names of the classes or None) of a file, under the paths of weights that are wanted.

    Weights of other layers stand under the name of their layer. Raises UserError.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(read_regular(path, LARGEST))) as archive:
            config = parse_json(_member(archive, "config.json", LARGEST_JSON))
            names = _class_names(archive)
            with h5py.File(io.BytesIO(_member(archive, "model.weights.h5", LARGEST)), "r") as file:
                found = _restored(dict(_weights(file, _options(config))))
    except OSError as error:
        raise UserError(f"init_from {path} can't be read: {first_line(error)}") from error
    except (zipfile.BadZipFile, NotImplementedError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"init_from {path} is no .keras file of stock layers: {first_line(error)}") from error
    paths = {path.replace("/", "_"): path for path in wanted}
    return {paths.get(name.replace("/", "_"), name): value for name, value in found.items()}, names


def _member(archive, name, largest):
    """The bytes of a file in the archive; what it claims of its size is not believed. Raises ValueError."""
    with archive.open(name) as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(f"its {name} has more than {largest:,} bytes")
    return data


def _class_names(archive):
    """Names of the classes, where the file says them: Keras leaves them out when it saves the network again."""
    if "contract.json" not in archive.namelist():
        return None
    names = parse_json(parse_json(_member(archive, "contract.json", LARGEST_JSON))["class_names"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its class_names should be names")
    return tuple(map(normal, names))


def _options(config):
    """{layer: (class, its options)} of the layers that have weights."""
    rows = [(layer["config"]["name"], layer["class_name"], layer["config"]) for layer in config["config"]["layers"]]
    return {name: (kind, options) for name, kind, options in rows if kind in WEIGHTS}


def _weights(file, options):
    """Yield ("layer/weight", array) for the layers. Raises ValueError for what is no plain array of finite numbers."""
    for group in _inside(file, "layers").values():
        arrays = _inside(group, "vars")
        name = arrays.attrs.get("name")
        if name not in options:
            continue
        kind, own = options[name]
        present = [weight for weight, option in WEIGHTS[kind] if option is None or own.get(option, True)]
        for number, weight in enumerate(present):
            yield f"{name}/{weight}", _array(arrays, str(number), f"{name}/{weight}")


def _inside(group, name):
    """A group that lies in the file itself: links into other files are not followed."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink) or not isinstance(group[name], h5py.Group):
        raise ValueError(f"its weights have no group '{name}'")
    return group[name]


def _array(group, name, what):
    is_inside = isinstance(group.get(name, getlink=True), h5py.HardLink)
    array = group[name] if is_inside else None
    if array is None or not isinstance(array, h5py.Dataset) or array.external or array.is_virtual or array.dtype.kind != "f":
        raise ValueError(f"{what} is no array of numbers")
    if array.size * array.dtype.itemsize > LARGEST or array.chunks:  # Keras writes none that would expand
        raise ValueError(f"{what} is too large or compressed")
    value = array[()].astype("float32")
    if not np.isfinite(value).all():
        raise ValueError(f"{what} holds values that are not finite")
    return value


def _restored(found):
    """The weights of norms that were composed of several layers, under their own names."""
    for name in [key.removesuffix("_instance/gamma") for key in found if key.endswith("_instance/gamma")]:
        batch, instance = found.pop(f"{name}_batch/gamma", 0.0), found.pop(f"{name}_instance/gamma")
        gamma = batch + instance
        found[f"{name}/gamma"] = gamma
        found[f"{name}/gate"] = np.divide(batch, gamma, out=np.ones_like(gamma), where=gamma != 0)
        for weight in ("beta", "moving_mean", "moving_variance"):
            if f"{name}_batch/{weight}" in found:
                found[f"{name}/{weight}"] = found.pop(f"{name}_batch/{weight}")
    for key in [key for key in found if key.endswith("_gate/gamma")]:
        found[key.removesuffix("_gate/gamma") + "/v"] = found.pop(key)
    return found

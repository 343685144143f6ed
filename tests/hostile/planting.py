"""Run folders that a stranger might send: a sound run, and what is made of it."""

import hashlib
import json
import os
import shutil

import numpy as np
import onnx
from safetensors.numpy import load, save

from foundation.errors import UserError
from foundation.settings import Config
from lab.runs.run import Run
from lab.training.experiment import train

PARTS = ("Curves", "Settings", "Confusion", "Gradient flow", "Network")


def settings_in(folder, **changes):
    places = {"output_dir": str(folder / "output"), "weights_dir": str(folder / "weights"), "data_dir": str(folder / "data")}
    return {**vars(Config()), **places, **changes}


def sound_run(folder):
    """Trains the run `sound` in the folder: one epoch on digits of 8x8 pixels."""
    given = {"image_size": 8, "n": 1, "epochs": 1, "warmup_epochs": 0.0, "batch_size": 256, "run": "sound"}
    assert train(Config(**settings_in(folder, track_gradients=True, **given))) == 0
    return folder


def copied(sound, folder, name):
    """A copy of the sound run under another name, with its weights; returns its output folder."""
    shutil.copytree(sound / "output/sound", folder / "output" / name)
    shutil.copytree(sound / "weights/sound", folder / "weights" / name)
    return folder / "output" / name


def changed_json(path, *keys, value):
    """Puts a value at the place that the keys name in a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


def signed(checkpoint, **files):
    """Replaces files of a checkpoint by bytes and writes a manifest that proves them whole."""
    for name, data in files.items():
        file = checkpoint / {"model": "model.safetensors", "training": "training.safetensors", "state": "state.json"}[name]
        file.write_bytes(data)
    names = ("model.safetensors", "training.safetensors", "state.json")
    digests = {name: hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() for name in names}
    manifest = {name: {"bytes": (checkpoint / name).stat().st_size, "sha256": digest} for name, digest in digests.items()}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def header(tensors, data=b"", size=None):
    """A safetensors file with a header that may lie, also of its own size."""
    text = json.dumps(tensors).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def one_tensor(checkpoint, **changes):
    """The header of a checkpoint's weights whose first tensor has other fields, and their bytes."""
    data = (checkpoint / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = json.loads(data[8 : 8 + size])
    name = next(name for name in tensors if name != "__metadata__")
    tensors[name] |= changes
    return header(tensors, data[8 + size :])


def with_values(checkpoint, value, dtype="float32"):
    """The checkpoint's weights, all of this value and type."""
    weights = load((checkpoint / "model.safetensors").read_bytes())
    return save({name: np.full(tensor.shape, value, dtype) for name, tensor in weights.items()})


def with_state(checkpoint, **changes):
    """The checkpoint's state with other parts; a part that is None is left out."""
    state = json.loads((checkpoint / "state.json").read_text()) | changes
    return json.dumps({name: part for name, part in state.items() if part is not None}).encode()


def pipe(path):
    """Puts a pipe, which nobody ever writes to, in a file's place."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def one_line(ask):
    """What an attempt says: nothing, or a UserError's text. Anything else that it raises is a failure of the test."""
    try:
        ask()
    except UserError as error:
        return str(error)
    return None


def run_of_many_letters(folder, image_folder):
    """(a run on a folder of images, one of whose classes has a name of 240 bytes, that name)."""
    name = "long" * 35 + "é" * 50
    shutil.copytree(image_folder, folder / "images")
    for split in ("train", "test"):
        (folder / "images" / split / "dark").rename(folder / "images" / split / name)
    given = {"image_size": 8, "n": 1, "epochs": 1, "batch_size": 32, "run": "long", "dataset": f"folder:{folder / 'images'}"}
    assert train(Config(**settings_in(folder, **given))) == 0
    return Run.find("long", folder / "output", folder / "weights"), name


METADATA = {"image_size": "8", "class_names": '["a", "b"]', "mean": "[0.5, 0.5, 0.5]", "std": "[0.2, 0.2, 0.2]"}


def write_onnx(path, metadata):
    """A network from images of 8x8 pixels to two numbers."""
    pixels = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["n", 8, 8, 3])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 2])
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [1], [192])
    weights = onnx.helper.make_tensor("weights", onnx.TensorProto.FLOAT, [192, 2], [0.0] * 384)
    nodes = [
        onnx.helper.make_node("Cast", ["images"], ["cast"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Flatten", ["cast"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [pixels], [logits], [shape, weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)

"""The one table of formats: how a network from pixels to logits is written as each. `runtimes` says how each is read."""

import json
import logging
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.numpy import save

from callbacks.averaging import copy_of
from foundation.errors import RunFailure
from lab.training.forward import Inference

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Format:
    """`write(model, contract, path)` makes the file or folder of that name; `loads` says in one line of code how it is used."""

    file: str
    what: str
    loads: str
    write: Callable


def metadata_of(contract):
    """The contract as strings, which is what files can hold."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in asdict(contract).items()}


def write_safetensors(model, contract, path):
    """Weights by path, their contract in the header."""
    weights = {variable.path: copy_of(variable) for variable in model.variables}
    path.write_bytes(save(weights, metadata_of(contract)))


def write_keras(model, contract, path):
    """The contract is one more file in the archive, which Keras passes over."""
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("contract.json", json.dumps(metadata_of(contract)))


def write_torch(model, contract, path):
    torch.export.save(exported_program(model), path, extra_files={"contract.json": json.dumps(metadata_of(contract))})


def write_onnx(model, contract, path):
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages that it does without
    names = {"input_names": ["images"], "output_names": ["logits"]}
    with warnings.catch_warnings(action="ignore"):
        proto = torch.onnx.export(exported_program(model), **names, verbose=False).model_proto
    onnx.helper.set_model_props(proto, metadata_of(contract))
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())


def exported_program(model):
    """The network as torch.export reads it, for any number of images."""
    images = torch.zeros(2, *model.input_shape[1:], dtype=torch.uint8)  # one image would be taken for a constant
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(Inference(model), (images,), dynamic_shapes=({0: batch},))


def write_savedmodel(model, contract, path):
    """By a process of its own, whose backend is TensorFlow; the network travels as a .keras file."""
    source = path.with_suffix(".keras")
    try:
        model.save(source)
        run_module("lab.exporting.savedmodel", source, path, backend="tensorflow")
    finally:
        source.unlink(missing_ok=True)
    (path / "assets.extra").mkdir(exist_ok=True)  # where TensorFlow leaves room for what is not part of the graph
    (path / "assets.extra" / "contract.json").write_text(json.dumps(metadata_of(contract), indent=1) + "\n")


def run_module(module, *arguments, backend="torch"):
    """Runs a module of this project in a fresh process. Raises RunFailure with its last line where it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = os.environ | {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise RunFailure((process.stderr.strip() or f"{module} ended with code {process.returncode}").splitlines()[-1])


ONNX_USE = 'onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})[0]'
TORCH_USE = 'torch.export.load("model.pt2").module()(torch.from_numpy(images))'
TENSORFLOW_USE = 'network = tf.saved_model.load("savedmodel"); network.serve(images)'
KERAS_USE = 'import models.network; keras.saving.load_model("model.keras")(images)'
WEIGHTS_USE = 'safetensors.numpy.load_file("weights.safetensors")'

FORMATS = {
    "onnx": Format("model.onnx", "ONNX", ONNX_USE, write_onnx),
    "torch": Format("model.pt2", "torch ExportedProgram", TORCH_USE, write_torch),
    "savedmodel": Format("savedmodel", "TensorFlow SavedModel", TENSORFLOW_USE, write_savedmodel),
    "keras": Format("model.keras", "Keras, with this project's layers", KERAS_USE, write_keras),
    "safetensors": Format("weights.safetensors", "weights alone, by path", WEIGHTS_USE, write_safetensors),
}

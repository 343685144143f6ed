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
from lab.exporting.quantised import quantise
from lab.exporting.stock_network import stock_network
from lab.exporting.web import TOLERANCE as OF_WEB
from lab.exporting.web import write_web
from lab.training.forward import Inference
from models.folding import fold_norms

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Format:
    """`write(model, contract, path)` makes the file or folder of that name; `loads` says in one line of code how it is used.

    With `has_8_bits` it is called with images to calibrate on, too, and accuracy is compared in the place of logits.
    """

    file: str
    what: str
    loads: str
    write: Callable
    tolerance: float = 1e-4  # largest difference of logits, times the largest logit where that is above 1
    backends: tuple[str, ...] = ("torch",)  # of Keras, on which it is tried
    has_8_bits: bool = False


def metadata_of(contract) -> dict[str, str]:
    """Return the contract as strings, which is what files can hold."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in asdict(contract).items()}


def write_safetensors(model, contract, path):
    """Write weights by path, their contract in the header."""
    weights = {variable.path: copy_of(variable) for variable in model.variables}
    path.write_bytes(save(weights, metadata_of(contract)))


def write_keras(model, contract, path):
    """Write the network in Keras' own layers. The contract is one more file in the archive, which Keras passes over."""
    stock_network(model).save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("contract.json", json.dumps(metadata_of(contract)))


def write_torch(model, contract, path):
    torch.export.save(exported_program(model), path, extra_files={"contract.json": json.dumps(metadata_of(contract))})


def write_onnx(model, contract, path):
    path.write_bytes(onnx_model(model, contract).SerializeToString())


def write_int8(model, contract, path, images):
    """Write a network of 8 bits. Norms are folded first: what follows a convolution is quantised with it."""
    import onnx

    quantise(onnx_model(fold_norms(model), contract), images, path)
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, metadata_of(contract))
    path.write_bytes(proto.SerializeToString())


def onnx_model(model, contract):
    """Return the network as an ONNX model whose metadata are the contract."""
    import onnx

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of packages that it does without
    program = exported_program(model)
    with warnings.catch_warnings(action="ignore"):
        exported = torch.onnx.export(program, input_names=["images"], output_names=["logits"], verbose=False)
    assert exported  # it is None where the older exporter is asked for
    proto = exported.model_proto
    onnx.helper.set_model_props(proto, metadata_of(contract))
    onnx.checker.check_model(proto)
    return proto


def exported_program(model):
    """Return the network as torch.export reads it, for any number of images."""
    images = torch.zeros(2, *model.input_shape[1:], dtype=torch.uint8)  # one image would be taken for a constant
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(Inference(model), (images,), dynamic_shapes=({0: batch},))


def write_savedmodel(model, contract, path):
    """Write a SavedModel by a process of its own, whose backend is TensorFlow; the network travels as a .keras file."""
    source = path.with_suffix(".keras")
    try:
        model.save(source)
        run_module("lab.exporting.savedmodel", source, path, backend="tensorflow")
    finally:
        source.unlink(missing_ok=True)
    (path / "assets.extra").mkdir(exist_ok=True)  # where TensorFlow leaves room for what is not part of the graph
    (path / "assets.extra" / "contract.json").write_text(json.dumps(metadata_of(contract), indent=1) + "\n")


def run_module(module, *arguments, backend="torch"):
    """Run a module of this project in a fresh process. Raises RunFailure with its last line where it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = os.environ | {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise RunFailure((process.stderr.strip() or f"{module} ended with code {process.returncode}").splitlines()[-1])


ONNX_USE = 'onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})[0]'
TORCH_USE = 'torch.export.load("model.pt2").module()(torch.from_numpy(images))'
TENSORFLOW_USE = 'network = tf.saved_model.load("savedmodel"); network.serve(images)'
KERAS_USE = 'keras.saving.load_model("model.keras")(images)'
WEB_USE = "python -m webbrowser model.html"
INT8_USE = ONNX_USE.replace("model.onnx", "model.int8.onnx")
ALL = ("torch", "jax", "tensorflow")
WEIGHTS_USE = 'safetensors.numpy.load_file("weights.safetensors")'

FORMATS = {
    "onnx": Format("model.onnx", "ONNX", ONNX_USE, write_onnx),
    "torch": Format("model.pt2", "torch ExportedProgram", TORCH_USE, write_torch),
    "savedmodel": Format("savedmodel", "TensorFlow SavedModel", TENSORFLOW_USE, write_savedmodel),
    "keras": Format("model.keras", "Keras' own layers alone", KERAS_USE, write_keras, backends=ALL),
    "web": Format("model.html", "a page that names pictures", WEB_USE, write_web, OF_WEB),
    "int8": Format("model.int8.onnx", "ONNX of 8 bits, if asked for", INT8_USE, write_int8, has_8_bits=True),
    "safetensors": Format("weights.safetensors", "weights alone, by path", WEIGHTS_USE, write_safetensors),
}

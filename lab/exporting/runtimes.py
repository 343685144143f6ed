"""`python -m lab.exporting.runtimes FORMAT FILE IMAGES LOGITS`: runs an export in its own runtime.

Images and logits are .npy files. Each function imports its runtime and no other, so that what works here works elsewhere.
"""

import base64
import json
import re
import sys

import numpy as np

BATCH = 64


def run_onnx(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batches = np.array_split(images, -(-len(images) // BATCH))
    return np.concatenate([session.run(None, {"images": batch})[0] for batch in batches])


def run_torch(path, images):
    import torch

    with torch.no_grad():
        return torch.export.load(path).module()(torch.from_numpy(images)).numpy()


def run_savedmodel(path, images):
    import tensorflow

    loaded = tensorflow.saved_model.load(path)  # its weights live as long as it does
    return loaded.serve(images).numpy()


def run_keras(path, images):
    import keras

    return keras.ops.convert_to_numpy(keras.saving.load_model(path).predict_on_batch(images))


def part_of_page(page, name):
    """Return the content of the page's script of that name."""
    (content,) = re.findall(rf'<script[^>]* id="{name}">(.*?)</script>', page, re.DOTALL)
    return content


def run_web(path, images):
    """The page's JavaScript, in the engine of Chromium."""
    from py_mini_racer import MiniRacer

    with open(path, encoding="utf-8") as file:
        page = file.read()
    with MiniRacer() as engine:
        engine.eval(part_of_page(page, "network"))
        engine.eval(f"const network = loadNetwork({part_of_page(page, 'program')}, '{part_of_page(page, 'weights')}')")
        coded = (base64.b64encode(image.tobytes()).decode() for image in images)
        answers = (engine.eval(f"JSON.stringify(Array.from(logitsOf(network, decodeBase64('{image}'))))") for image in coded)
        return np.array([json.loads(str(answer)) for answer in answers], "float32")


def run_safetensors(path, images):
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        contract = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    return run_weights(contract, weights, images)


def run_weights(contract, weights, images):
    """Weights know their shapes alone: the architecture is built anew from the settings of the run beside them."""
    import keras

    from dispatcher import build_model

    classes = len(json.loads(contract["class_names"]))
    model = build_model(contract["model"], images.shape[1:], classes, **json.loads(contract["architecture"]))
    for variable in model.variables:
        variable.assign(weights[variable.path])
    mean, std = (np.asarray(json.loads(contract[name])) for name in ("mean", "std"))
    scaled = (images / 255.0 - mean) / std
    return keras.ops.convert_to_numpy(model.predict_on_batch(scaled.astype("float32")))


# In the order in which formats are tried.
RUNTIMES = {
    "safetensors": run_safetensors,
    "keras": run_keras,
    "web": run_web,
    "int8": run_onnx,
    "onnx": run_onnx,
    "torch": run_torch,
    "savedmodel": run_savedmodel,
}

IF_ASKED = ("int8",)  # not unless they are named

if __name__ == "__main__":
    kind, file, images, logits = sys.argv[1:]
    np.save(logits, RUNTIMES[kind](file, np.load(images)))

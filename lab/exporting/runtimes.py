"""`python -m lab.exporting.runtimes FORMAT FILE IMAGES LOGITS`: runs an export in its own runtime.

Images and logits are .npy files. Each function imports its runtime and no other, so that what works here works elsewhere.
"""

import json
import sys

import numpy as np


def run_onnx(path, images):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"images": images})[0]


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

    import models.network  # noqa: F401  registers the layers

    return keras.ops.convert_to_numpy(keras.saving.load_model(path).predict_on_batch(images))


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
    "onnx": run_onnx,
    "torch": run_torch,
    "savedmodel": run_savedmodel,
}

if __name__ == "__main__":
    kind, file, images, logits = sys.argv[1:]
    np.save(logits, RUNTIMES[kind](file, np.load(images)))

"""Who classifies: one network under several runtimes, plain and with its norms folded.

A contestant is a function of a number of calls that makes them and returns the seconds of each, which end when the device has
finished. The images stay in the memory of the process: what is timed is the network, not the way to it.
"""

import os
import tempfile
import time
from functools import partial

import keras
import numpy as np

from dispatcher import build_model
from models.folding import fold_norms
from models.initialize import initialize

BACKENDS = {"eager": "torch", "compiled": "torch", "onnx": "torch", "jax": "jax"}  # runtime: KERAS_BACKEND
LABELS = {"eager": "torch eager", "compiled": "torch compiled", "onnx": "ONNX Runtime", "jax": "jax"}


def make_contestant(name, model, image_size, classes, batch, threads, fold):
    """`run(calls)` of a network under the runtime of that name, one of BACKENDS, on a batch of random images."""
    if hasattr(os, "sched_setaffinity"):  # jax takes as many threads as it finds cores, and can't be told otherwise
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    network = build_model(model, (image_size, image_size, 3), classes)
    initialize(network, 0)
    network = fold_norms(network) if fold else network
    images = np.random.default_rng(0).standard_normal((batch, image_size, image_size, 3), "float32")
    return partial(timed, RUNTIMES[name](network, images, threads))


def timed(call, calls):
    seconds = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds


def eager(network, images, threads, is_compiled=False):
    import torch

    from foundation.devices import synchronize
    from lab.training.forward import Inference

    torch.set_num_threads(threads)
    inference, batch = Inference(network), keras.ops.convert_to_tensor(images)
    inference = torch.compile(inference, dynamic=False) if is_compiled else inference

    def call():
        with torch.inference_mode():
            inference(batch)
        synchronize()

    return call


def _onnx(network, images, threads):
    import onnxruntime
    import torch

    from lab.training.forward import Inference

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = os.path.join(folder, "network.onnx")
        module, example = Inference(network), keras.ops.convert_to_tensor(images)  # both where Keras keeps the weights
        torch.onnx.export(module, (example,), path, input_names=["images"], verbose=False)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": images})


def _jax(network, images, threads):
    import jax

    trainable = [variable.value for variable in network.trainable_variables]
    others = [variable.value for variable in network.non_trainable_variables]
    classify = jax.jit(lambda batch: network.stateless_call(trainable, others, batch, training=False)[0])
    batch = keras.ops.convert_to_tensor(images)
    return lambda: classify(batch).block_until_ready()


RUNTIMES = {"eager": eager, "compiled": partial(eager, is_compiled=True), "onnx": _onnx, "jax": _jax}

"""Who classifies, the contestants of `lab.benchmarks.latency`: one network under several runtimes, plain and folded.

A contestant is a function of a number of calls that makes them and returns the seconds of each, which end when the device has
finished. The images stay in the memory of the process: what is timed is the network, not the way to it.
"""

import os
import tempfile
from functools import partial

import keras
import numpy as np

from datasets.catalog import expected
from dispatcher import architecture_of, architecture_options, build_model
from foundation.stopwatch import seconds_of
from lab.benchmarks.latency import TURN
from models.folding import fold_norms
from models.initialize import initialize


def make_contestant(name, model, image_size, classes, batch, threads, fold):
    """`run(calls)` of a network under the runtime of that name, one of RUNTIMES, on a batch of random images."""
    if hasattr(os, "sched_setaffinity"):  # jax takes as many threads as it finds cores, and can't be told otherwise
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    network = build_model(model, (image_size, image_size, 3), classes)
    initialize(network, 0)
    network = fold_norms(network) if fold else network
    images = np.random.default_rng(0).standard_normal((batch, image_size, image_size, 3), "float32")
    return partial(timed, RUNTIMES[name](network, images, threads))


def timed(call, calls) -> list[float]:
    """Return the seconds of each of so many calls."""
    return [seconds_of(call) for _ in range(calls)]


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


def milliseconds_of(configs, calls=100, warm_ups=10) -> list[float]:
    """Return the mean milliseconds for one image of each config's network, on torch, folded, in this process, in turns.

    A network that several configs share is measured once. If the image size of a data set is not known yet, images have the
    config's `image_size` or else the size that the network was made for.
    """
    import torch

    runners, networks = {}, []
    for config in configs:
        size, options = expected(config.dataset, config.image_size), architecture_options(config)
        image_size = size[1] if size else config.image_size or architecture_of(config.model).image_size
        networks.append((config.model, image_size, *options.items()))
        if networks[-1] not in runners:
            network = fold_norms(build_model(config.model, (image_size, image_size, 3), 10, **options))
            images = np.zeros((1, *network.input_shape[1:]), "float32")
            runners[networks[-1]] = eager(network, images, torch.get_num_threads())
            timed(runners[networks[-1]], warm_ups)
    times = {network: [] for network in runners}
    for _ in range(calls // TURN):
        for network, run in runners.items():
            times[network] += timed(run, TURN + 1)[1:]
    return [1e3 * float(np.mean(times[network])) for network in networks]

"""Time of a training step by kind of operation (torch only)."""

import dispatcher
from foundation.backend import demand_torch
from foundation.stopwatch import seconds_of
from lab.benchmarks import arguments as common

OWN = ("Convolution", "BatchNorm", "Mish")  # of `models.torch_cpu`
# An operation belongs to the first kind that has a word in the operation's name.
KINDS = {
    "convolution, backward": ("convolution_backward", "ConvolutionBackward"),
    "convolution": ("convolution", "conv2d", "Convolution"),
    "norm, backward": ("batch_norm_backward", "group_norm_backward", "layer_norm_backward", "BatchNormBackward"),
    "norm": ("batch_norm", "group_norm", "layer_norm", "BatchNorm"),
    "optimizer": ("_foreach", "fused_sgd"),
    "activation": ("threshold", "relu", "clamp", "mish", "Mish", "silu", "gelu", "exp", "reciprocal", "sigmoid"),
    "copies and casts": ("copy_", "_to_copy", "clone", "contiguous", "constant_pad"),
    "additions and products": ("add", "mul", "sub", "div", "sum", "mean"),
    "matrix products": ("mm", "linear"),
}


def add_arguments(command):
    common.add_model(command)
    common.add_batch(command)
    common.add_image_size(command, 32)
    common.add_classes(command)
    common.add_precision(command)
    common.add_steps(command, 10, "steps to record")


def run(arguments):
    """Show the time of one of our training steps by kind of operation."""
    dispatcher.architecture_of(arguments.model)
    demand_torch("profile reads torch's own records")
    from lab.benchmarks.contestants import make_contestant

    contestant = make_contestant("ours", **common.network_of(arguments), precision=arguments.precision, mode="eager")
    print(table(measure(contestant, arguments.steps)))


def measure(contestant, steps):
    """Return {kind: ms per step} of a contestant's steps; "between operations" is the time outside torch's operations."""
    from torch.profiler import profile, supported_activities

    contestant(steps)
    with profile(activities=supported_activities()) as profiler:
        wall = seconds_of(lambda: contestant(steps))
    times = dict.fromkeys([*KINDS, "other operations"], 0.0)
    for event in profiler.key_averages():
        if event.key.startswith("aten::") or event.key.removesuffix("Backward") in OWN:
            times[kind_of(event.key)] += event.self_device_time_total or event.self_cpu_time_total
    times = {kind: total / 1e3 / steps for kind, total in times.items()}
    times["between operations"] = max(1e3 * wall / steps - sum(times.values()), 0.0)
    return times


def kind_of(operation) -> str:
    """Return the kind of an operation from its name, such as `aten::mkldnn_convolution`."""
    return next((kind for kind, words in KINDS.items() if any(word in operation for word in words)), "other operations")


def table(times) -> str:
    """Return the kinds as text, the longest time first."""
    total = sum(times.values())
    lines = [f"{'kind':26} {'ms/step':>8} {'share':>7}"]
    for kind, ms in sorted(times.items(), key=lambda item: -item[1]):
        lines.append(f"{kind:26} {ms:8.2f} {100 * ms / total:6.1f}%")
    return "\n".join([*lines, f"{'whole step':26} {total:8.2f}"])

"""Bytes that several processes exchange after every step, and the time that this takes on links of given speeds."""

from dispatcher import architecture_of, build_model
from lab.benchmarks import arguments as common

LINKS = {"1 Gbit/s": 1e9, "10 Gbit/s": 1e10, "100 Gbit/s": 1e11, "NVLink 3.6 Tbit/s": 3.6e12}  # bits a second, each way


def add_arguments(command):
    common.add_models(command)
    common.add_processes(command, 8, "processes that train together")
    common.add_classes(command)


def run(arguments):
    """Compute the bytes that processes exchange after every step when they train together, and the time that this takes."""
    names = common.matching_models(arguments.models)
    print(header(arguments.processes))
    for name in names:
        print(row(*measure(name, arguments.processes, arguments.classes)), flush=True)


def measure(name, processes, classes):
    """Return (model, weights, bytes of their float32 gradients, {link: milliseconds}) of one network.

    A ring all-reduce sends and receives 2 (N - 1) / N of the gradients' bytes in each of N processes (Patarasuk & Yuan 2009,
    theorem 1). The estimate leaves out latency. It also leaves out that DistributedDataParallel overlaps most of the exchange
    with the backward pass.
    """
    from models.costs import count_elements

    size = architecture_of(name).image_size
    model = build_model(name, (size, size, 3), classes)
    weights = count_elements(model.trainable_variables)
    sent = 4 * weights * 2 * (processes - 1) / processes
    return name, weights, 4 * weights, {link: 1e3 * 8 * sent / speed for link, speed in LINKS.items()}


def header(processes) -> str:
    links = " ".join(f"{link:>18}" for link in LINKS)
    return f"{'':48} ms a step for {processes} processes\n{'model':24} {'weights':>12} {'MiB':>9} {links}"


def row(name, weights, size, milliseconds) -> str:
    times = " ".join(f"{ms:18.3f}" for ms in milliseconds.values())
    return f"{name:24} {weights:12,} {size / 2**20:9.2f} {times}"

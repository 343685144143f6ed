"""Costs of networks: parameters, operations by kind of layer and memory, as one record for each network.

Or, with `--runs`, what finished runs cost beside how accurate they are.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import get_args

from dispatcher import architecture_of, build_model
from foundation.backend import demand_torch
from foundation.errors import UserError
from foundation.files import as_json, write_file
from foundation.settings import SETTINGS
from lab.benchmarks import arguments as common
from lab.runs.run import Run

PARTS = ("norm", "activation", "stem", "attention", "shortcut")
COLUMNS = ("convolution", "grouped convolution", "dense", "norm", "element-wise", "pooling")


def add_arguments(command):
    common.add_models(command, "*")
    command.add_argument("--runs", metavar="PATTERN", help="show accuracy against cost of the finished runs that match instead")
    command.add_argument("--output-dir", type=Path, default=Path("output"), help="where runs lie (default: %(default)s)")
    command.add_argument(
        "--plot",
        type=Path,
        default=Path("output/benchmark/costs.png"),
        help="file for the figure of --runs (default: %(default)s)",
    )
    common.add_batch(command, meaning="images at once, for memory")
    common.add_image_size(command)
    common.add_classes(command)
    for name in PARTS:
        allowed = [value for value in get_args(SETTINGS[name].type) if value != "default"]
        command.add_argument(f"--{name}", choices=allowed, help="default: the model's own")
    command.add_argument("--json", type=Path, help="also write everything, exactly, to this file")


def run(arguments):
    """Count parameters, multiply-accumulates and operations by kind of layer, activations, weights on disk and peak memory."""
    if bool(arguments.runs) == bool(arguments.models):
        raise UserError("cost takes names of models, or --runs with a pattern of finished runs")
    if arguments.runs and arguments.json:
        raise UserError("--json goes with names of models; what runs cost is in their metrics.json")
    demand_torch("cost finds peak memory with torch's fake tensors")
    if arguments.runs:
        _compare_runs(arguments)
    else:
        _count_networks(arguments)


def _count_networks(arguments):
    names, records = common.matching_models(arguments.models), []
    options = {name: getattr(arguments, name) for name in PARTS if getattr(arguments, name)}
    print(header(arguments.batch))
    for record in measure_all(names, arguments.image_size, arguments.classes, arguments.batch, options):
        records.append(record)
        print(row(record), flush=True)
    if arguments.json:
        write_file(arguments.json, as_json(records))


def _compare_runs(arguments):
    finished = Run.some_finished(arguments.runs, arguments.output_dir)
    from foundation.style import image_of
    from lab.reports.accuracy_and_cost import compare

    compared = list(compare(finished, f"finished runs '{arguments.runs}'"))
    for name, table, figure in compared:
        plot = arguments.plot if len(compared) == 1 else arguments.plot.with_stem(f"{arguments.plot.stem}-{name}")
        write_file(plot, image_of(figure, "png"))
        print(f"{name}:\n{table}\n* on the Pareto front; drawn in {plot}")


def measure_all(names, image_size, classes, batch, options):
    """Yield the record of each network, in the given order. At most one process per core measures networks in parallel."""
    ask = partial(measure, image_size=image_size, classes=classes, batch=batch, options=options)
    if len(names) == 1:
        yield ask(names[0])
        return
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(names)), multiprocessing.get_context("spawn")) as processes:
        yield from processes.map(ask, names)


def measure(name, image_size, classes, batch, options):
    """Return the record of one network. Sizes are for one image, memory is for a batch in float32, and all counts are exact."""
    from lab.benchmarks.tensor_memory import peak_bytes
    from models.costs import MAC_KINDS, costs_of, count_elements

    size = image_size or architecture_of(name, **options).image_size
    model = build_model(name, (size, size, 3), classes, **options)
    costs = costs_of(model)
    macs = sum(costs[kind].operations for kind in MAC_KINDS)
    record = {
        "model": name,
        "image_size": size,
        "classes": classes,
        "options": options,
        "trainable_parameters": count_elements(model.trainable_variables),
        "other_parameters": count_elements(model.non_trainable_variables),
        "weights_bytes": 4 * count_elements(model.variables),  # float32, as a run keeps them
        "macs": macs,
        "flops": 2 * macs,
        "activations": sum(costs[kind].activations for kind in MAC_KINDS),
        "by_kind": {kind: vars(cost) for kind, cost in costs.items()},
        "batch": batch,
    }
    record["inference_bytes"], record["training_bytes"] = peak_bytes(model, batch)
    return record


def header(batch) -> str:
    """Return the two header lines of the table. `models.costs` explains how operations are counted."""
    groups = f"{'parameters':>22} {'MiB on':>8} {'MACs of':>37} {'operations of':>35} {'acti-':>9} {f'MiB, batch {batch}':>17}"
    names = ("trainable", 12), ("other", 9), ("disk", 8), ("all", 14), ("convolution", 12), ("grouped", 9), ("dense", 9)
    names += ("norms", 8), ("element", 8), ("pooling", 8), ("vations", 9), ("infer", 8), ("train", 8)
    return f"{'':34}{groups}\n{'model':24} {'pixels':>9} " + " ".join(f"{name:>{width}}" for name, width in names)


def row(record) -> str:
    """Return a record as one line of the table."""
    r, kinds = record, record["by_kind"]
    convolution, grouped, dense, *others = (short(kinds[kind]["operations"]) for kind in COLUMNS)
    size = f"{r['image_size']}x{r['image_size']}"
    counts = f"{r['trainable_parameters']:12,} {r['other_parameters']:9,} {mebibytes(r['weights_bytes']):>8} {r['macs']:14,}"
    macs = f"{convolution:>12} {grouped:>9} {dense:>9}"
    rest = " ".join(f"{value:>8}" for value in others) + f" {short(r['activations']):>9}"
    memory = f"{mebibytes(r['inference_bytes']):>8} {mebibytes(r['training_bytes']):>8}"
    return f"{r['model']:24} {size:>9} {counts} {macs} {rest} {memory}"


def short(count) -> str:
    """Return a count as text, from 1,000 on with three digits and k, M or G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            digits = max(3 - len(str(int(count / size))), 0)
            return f"{count / size:.{digits}f}{letter}"
    return str(count)


def mebibytes(count) -> str:
    return f"{count / 2**20:,.1f}" if count < 100 * 2**20 else f"{count / 2**20:,.0f}"

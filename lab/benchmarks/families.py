"""Training steps of a member of each family: ours on three backends against stock Keras there and hand-written PyTorch.

Keras is imported only in the processes that measure.
"""

from dataclasses import dataclass
from pathlib import Path

import dispatcher
from foundation.backend import BACKENDS
from foundation.errors import unknown
from foundation.files import as_json, write_file
from lab.benchmarks import arguments as common
from lab.benchmarks.throughput import fastest, measure, speed_ratio, table
from lab.benchmarks.twins import check_twins

HAND_WRITTEN = "best hand-written PyTorch"


@dataclass(frozen=True)
class Member:
    """A network of a family, with the images and the batch that it is measured at."""

    model: str
    image_size: int = 32
    batch: int = 128
    classes: int = 10


MEMBERS = {
    member.model: member
    for member in (
        Member("resnet20"),
        Member("plain20"),
        Member("preresnet20"),
        Member("resnet18"),
        Member("wrn16-4"),
        Member("xresnet20"),
        Member("se-mxresnext29_16x2d"),
        Member("mini-basic-post", 64, 64, 25),
        Member("mini-bottleneck-pre", 64, 64, 25),
    )
}


def add_arguments(command):
    command.add_argument("--members", nargs="+", metavar="MODEL", default=list(MEMBERS), help=f"of {', '.join(MEMBERS)}")
    command.add_argument("--backends", choices=BACKENDS, nargs="+", default=list(BACKENDS), help="default: all")
    command.add_argument("--precision", choices=common.PRECISIONS, nargs="+", default=["float32"], help="default: float32")
    common.add_steps(command, 3, "steps in a turn, at least")
    common.add_repetitions(command)
    command.add_argument("--json", type=Path, help="also write the measurements to this file after each member")
    command.add_argument("--plot", type=Path, default=Path("output/benchmark/families.png"), help="default: %(default)s")


def run(arguments):
    """Compare a member of each family with stock Keras on each backend and with the best hand-written PyTorch."""
    for model in arguments.members:
        if model not in MEMBERS:
            raise unknown("member", model, list(MEMBERS))
        check_twins(dispatcher.architecture_of(model))
    from foundation.style import image_of
    from lab.benchmarks.figures import draw_families

    found = {}
    for model in dict.fromkeys(arguments.members):
        member = MEMBERS[model]
        network = {"model": model, "image_size": member.image_size, "classes": member.classes, "batch": member.batch}
        rivals = dict.fromkeys(arguments.precision), dict.fromkeys(arguments.backends)
        found[model] = measure(network, *map(list, rivals), steps=arguments.steps, repetitions=arguments.repetitions)
        print(f"\n{model}, {member.image_size} pixels, batch {member.batch}\n{table(found[model])}\n", flush=True)
        if arguments.json:
            write_file(arguments.json, as_json([each.record() for measurements in found.values() for each in measurements]))
    rows = {model: ratios(measurements) for model, measurements in found.items()}
    print(as_table(rows))
    write_file(arguments.plot, image_of(draw_families(rows), "png"))
    print(f"drawn in {arguments.plot}")


def ratios(measurements):
    """Return {what ours is compared with: (median, lower, upper quartile of the speed ratio)} for each precision and backend."""
    found = {}
    for precision in dict.fromkeys(m.precision for m in measurements):
        for backend in dict.fromkeys(m.backend for m in measurements if m.name == "ours"):
            ours, where = fastest(measurements, "ours", precision, backend), f"{backend}, {precision}"
            found[f"stock Keras, {where}"] = speed_ratio(ours, fastest(measurements, "keras", precision, backend))
            if backend == "torch":
                rival = fastest(measurements, "torch", precision, "torch")
                found[f"{HAND_WRITTEN}, {precision}"] = speed_ratio(ours, rival)
    return found


def as_table(rows) -> str:
    """Return the speed ratios as a Markdown table: a row for each network, quartiles in brackets."""
    heads = list(dict.fromkeys(head for row in rows.values() for head in row))
    lines = [f"| times as fast as | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for model, row in rows.items():
        cells = ["{:.2f} ({:.2f} to {:.2f})".format(*row[head]) if head in row else "" for head in heads]
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return "\n".join(lines)

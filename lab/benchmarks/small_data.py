"""Default settings on little data: `python -m lab.benchmarks.small_data [--birds FOLDER] [--minutes 6]`; the same again goes on.

KERAS_BACKEND says which backend trains. The table has all that is finished, of every backend: the worst val loss after the first
quarter of the epochs as a share of ln C, the loss of guessing, and the val accuracy of the last epoch.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from foundation.backend import BACKENDS, name
from foundation.command_line import Parser

ROOT = Path(__file__).parents[2]
IMAGES = 12  # of a class, in the folders drawn here


def cases(folder, birds) -> dict[str, list[str]]:
    """Return {name: flags}: digits, drawn shapes, folders drawn here and, where their folder is given, photographs of birds."""
    found = {f"digits, {count} a class": ["--images-per-class", str(count)] for count in (5, 10, 20, 50)}
    for size in (16, 32, 64):
        found[f"shapes, {size} pixels"] = ["--dataset", "shapes:5", "--image-size", str(size)]
    for classes in (2, 30):
        found[f"folder, {classes} classes"] = ["--dataset", f"folder:{drawn_folder(folder / f'drawn-{classes}', classes)}"]
    for classes in (2, 5, 10) if birds else ():
        chosen = chosen_classes(birds, folder / f"birds-{classes}", classes)
        found[f"birds, {classes} classes"] = ["--dataset", f"folder:{chosen}", "--image-size", "64"]
    return found


def drawn_folder(folder, classes):
    """Draw a folder of noisy images whose class is the direction of a wave and its colour."""
    random = np.random.default_rng(classes)
    y, x = np.mgrid[:32, :32] / 32.0
    for c in range(classes):
        angle, colour = math.pi * c / classes, 0.5 + 0.5 * np.cos(2 * math.pi * (c / classes + np.arange(3) / 3))
        for i in range(IMAGES):
            wave = np.sin(20 * (x * math.cos(angle) + y * math.sin(angle)) + random.uniform(0, 6))[..., None]
            pixels = 128 + 60 * wave * colour + random.normal(0, 25, (32, 32, 3))
            path = folder / "train" / f"class-{c:02d}" / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(path)
    return folder.resolve()


def chosen_classes(source, folder, classes):
    """Return a folder of links to the first classes of another."""
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for path in sorted((source / split).iterdir())[:classes]:
            if not (folder / split / path.name).exists():
                (folder / split / path.name).symlink_to(path.resolve())
    return folder.resolve()


def train(name, flags, folder):
    """Train a run by `train.py`, in a process of its own, unless it is finished."""
    if (folder / "output" / name / "metrics.json").is_file():
        return
    place = ["--run", name, "--output-dir", str(folder / "output"), "--weights-dir", str(folder / "weights")]
    data = ["--data-dir", str(folder / "data")]
    subprocess.run([sys.executable, ROOT / "train.py", *flags, *place, *data], check=True, stdout=subprocess.DEVNULL)


def result(output):
    """Return (worst val loss after the first quarter over ln C, val accuracy of the last epoch) of a finished run, or None."""
    if not (output / "metrics.json").is_file():
        return None
    history, classes = (json.loads((output / name).read_bytes()) for name in ("history.json", "classes.json"))
    losses = history["val_loss"]
    return max(losses[math.ceil(len(losses) / 4) :]) / math.log(len(classes)), history["val_accuracy"][-1]


def name_of(case, backend, seed) -> str:
    return f"{case.replace(', ', '-').replace(' ', '-')}-{backend}-{seed}"


def table(names, folder, seeds) -> str:
    """Worst over seeds of the first, mean over seeds of the second, for each case and backend."""
    lines = ["| data | backend | seeds | worst val loss / ln C | val accuracy |", "|---|---|---|---|---|"]
    for case in names:
        for backend in BACKENDS:
            found = [result(folder / "output" / name_of(case, backend, seed)) for seed in range(seeds)]
            if found := [each for each in found if each]:
                worst, accuracy = max(w for w, _ in found), 100 * sum(a for _, a in found) / len(found)
                lines.append(f"| {case} | {backend} | {len(found)} | {worst:.2f} | {accuracy:.1f} % |")
    return "\n".join(lines)


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--birds", type=Path, help="a folder with train/<class> and test/<class> of photographs")
    parser.add_argument("--folder", type=Path, default=Path("output/small-data"), help="for data and runs (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after so long")
    arguments = parser.parse_args()
    end, backend = time.monotonic() + 60 * arguments.minutes, name()
    found = cases(arguments.folder, arguments.birds)
    for seed in range(arguments.seeds):
        for case, flags in found.items():
            if time.monotonic() < end:
                train(name_of(case, backend, seed), [*flags, "--seed", str(seed)], arguments.folder)
    print(table(found, arguments.folder, arguments.seeds))


if __name__ == "__main__":
    main()

"""The film of a run: one page with a slider over its epochs, from the frames that `--film` recorded."""

import base64
import io
import json
from functools import cached_property
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from callbacks.film import FOLDER, RECORD, SHOWN_FILE, sketch
from foundation.errors import UserError
from foundation.escaping import for_html
from foundation.files import read_json, read_regular
from foundation.style import HEAT
from lab.reports.page import page
from lab.runs.checkpoints import read_tensors
from lab.runs.contents import classes_of

LARGEST = 10_000_000  # bytes of a page; of more frames some are left out, evenly
LARGEST_FRAME = 64 << 20  # bytes of a file that is read
POINTS = 11  # on the line from the initial weights to the trained ones
WIDTH = 112  # pixels to which images of val are enlarged
SCRIPT = (Path(__file__).parent / "film.js").read_text(encoding="utf-8")
STYLE = (Path(__file__).parent / "film.css").read_text(encoding="utf-8")
READING = (
    "Move the slider, or press the arrow keys while it has the focus. Each panel shows the network as it was after that epoch,"
    " with the weights that val is measured with."
)


class Frames:
    """Frames of a run, checked. Raises UserError where the run recorded none, or where a file is damaged."""

    def __init__(self, run):
        self.run, self.folder = run, run.run.folder(FOLDER)
        self.paths = sorted(self.folder.glob("epoch-*.safetensors")) if self.folder.is_dir() else []
        if not self.paths:
            raise UserError(f"run '{run.name}' recorded no film: train one with --film")
        self.record = read_json(self.folder / RECORD)
        wanted = {"layers": list, "features": list, "counted": int}
        if not isinstance(self.record, dict) or not all(isinstance(self.record.get(k), v) for k, v in wanted.items()):
            raise UserError(f"{self.folder / RECORD} is damaged: it should hold {', '.join(wanted)}")
        self.shown = self.read(self.folder / SHOWN_FILE, ("images", "labels"))

    def read(self, path, names):
        try:
            found = read_tensors(read_regular(path, LARGEST_FRAME), str(path))
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror}") from error
        if missing := [name for name in names if name not in found]:
            raise UserError(f"{path} is damaged: it lacks {missing[0]}")
        return found

    @cached_property
    def all(self):
        """{epoch: tensors of its frame}, in order; epoch 0 is the untrained network."""
        features = [f"feature/{name}" for name in (*self.record["features"], "grad-cam")]
        names = ("filters", "probabilities", "gradients", "sketch", *features)
        return {int(path.stem.removeprefix("epoch-")): self.read(path, names) for path in self.paths}


def write_film(runs, options):
    """Return {"html": bytes} of the page of one run that was trained with --film. Raises UserError for others."""
    (run,) = runs
    frames = Frames(run)
    try:
        return {"html": _of_size(run, frames)}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the frames in {frames.folder} are damaged: {error!r}") from error


def _of_size(run, frames):
    """Return the page, of every frame, or of every second, third ... if it would be too large."""
    found, names = frames.all, [entry["name"] for entry in classes_of(run.run)]
    path = path_of(found, run)
    shown = {epoch: _panels(frame, frames, names) for epoch, frame in found.items()}
    for step in range(1, len(shown) + 1):
        kept = [epoch for i, epoch in enumerate(shown) if i % step == 0 or i == len(shown) - 1]
        points = {name: dict(zip(found, values, strict=True)) for name, values in path["points"].items()}
        data = {
            "frames": [shown[epoch] | {"epoch": epoch, "val": _val_of(run, epoch)} for epoch in kept],
            "path": {name: [places[epoch] for epoch in kept] for name, places in points.items()},
            "line": path["line"],
            "layers": frames.record["layers"],
        }
        html = _page(run, frames, data)
        if len(html) <= LARGEST:
            break
    return html


def _val_of(run, epoch):
    history = run.history
    return {"loss": history["val_loss"][epoch - 1], "accuracy": history["val_accuracy"][epoch - 1]} if epoch else None


def path_of(found, run):
    """Return the frames' places in the space of weights, by the line from the first frame to the best weights on val.

    `points` holds for each frame `along`, its progress on the line (0: first frame, 1: best weights), and `off`, its distance
    from the line in lengths of it. `line` are (progress, loss on val) of networks on it, or [] where the initial weights can't be
    computed (of a run that began with another's weights).
    """
    first = next(iter(found.values()))["sketch"].astype("float64")
    best = sketch([np.asarray(variable) for variable in _arrays(run.model)]).astype("float64") - first
    length, points = float(best @ best), {"along": [], "off": []}
    for frame in found.values():
        moved = frame["sketch"] - first
        along = float(moved @ best) / max(length, 1e-12)
        points["along"].append(round(along, 4))
        points["off"].append(round(float(np.sqrt(max(moved @ moved - along**2 * length, 0.0) / max(length, 1e-12))), 4))
    return {"points": points, "line": [] if run.config.init_from else losses_on_the_line(run)}


def _arrays(model):
    from keras import ops

    return [ops.convert_to_numpy(variable) for variable in model.trainable_variables]


def losses_on_the_line(run, images=200):
    """Return [[progress, loss on val], ...] of networks between the initial and the best weights (Goodfellow et al. 2015)."""
    from keras import ops

    from lab.reports.pictures import Options
    from lab.training.evaluation import cross_entropy, predict
    from lab.training.fitting import build

    batches, labels = run.sample(Options(images=images))
    network = build(run.config, run.dataset)
    first = [ops.convert_to_numpy(variable).copy() for variable in network.variables]
    last = [ops.convert_to_numpy(variable) for variable in run.model.variables]
    found = []
    for share in np.linspace(0.0, 1.0, POINTS):
        for variable, one, other in zip(network.variables, first, last, strict=True):
            if one.dtype.kind == "f":
                variable.assign((1 - share) * one + share * other)
        found.append([round(float(share), 3), round(float(cross_entropy(predict(network, batches), labels).mean()), 4)])
    return found


def _panels(frame, frames, names):
    """Return the pictures of a frame, as data addresses, and its numbers."""
    images = frames.shown["images"]
    answers = frame["probabilities"].argmax(1)
    shown = {
        "filters": _png(_filters(frame["filters"])),
        "features": [_png(_side_by_side(frame[f"feature/{name}"])) for name in frames.record["features"]],
        "maps": [_png(_over(image, heat)) for image, heat in zip(images, frame["feature/grad-cam"], strict=True)],
        "answers": [f"{names[a]} {100 * p:.0f} %" for a, p in zip(answers, frame["probabilities"].max(1), strict=True)],
        "gradients": [float(f"{value:.3g}") for value in frame["gradients"]],
    }
    if "confusion" in frame:
        shown["confusion"] = _png(_coloured(_by_row(frame["confusion"])))
        shown["right"] = int(np.diag(frame["confusion"]).sum())
    return shown


def _png(pixels):
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    (image.quantize(64) if image.mode == "RGB" and pixels.size > 6000 else image).save(file, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _filters(kernel):
    """Filters `(k, k, C, F)` as one picture, eight beside one another; each from its lowest to its highest value."""
    k, _, channels, count = kernel.shape
    kernel = np.moveaxis(kernel[:, :, :3] if channels >= 3 else kernel[:, :, :1].repeat(3, 2), 3, 0)
    low, high = (edge(kernel, axis=(1, 2, 3), keepdims=True) for edge in (np.min, np.max))
    kernel = (255 * (kernel - low) / np.maximum(high - low, 1e-12)).astype("uint8")
    columns = min(8, count)
    rows = -(-count // columns)
    picture = np.full((rows * (k + 1) - 1, columns * (k + 1) - 1, 3), 255, "uint8")
    for i, each in enumerate(kernel):
        y, x = i // columns * (k + 1), i % columns * (k + 1)
        picture[y : y + k, x : x + k] = each
    return picture


def _side_by_side(maps):
    """Feature maps `(N, h, w, C)` as one picture: a row for each image, a column for each channel."""
    count, height, width, channels = maps.shape
    padded = np.full((count, height + 1, channels, width + 1), 255, "uint8")
    padded[:, :height, :, :width] = np.moveaxis(maps, 3, 2)
    return padded.reshape(count * (height + 1), channels * (width + 1))[:-1, :-1]


def _over(image, heat):
    """Return a map `(h, w)` over its image `(H, W, C)`: bright where the evidence for the predicted class is."""
    size = (WIDTH, WIDTH)
    grey = (
        np.asarray(Image.fromarray(image.mean(-1).astype("uint8")).resize(size, Image.Resampling.NEAREST), float)[..., None]
        * 0.75
    )
    evidence = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR), float)[..., None] / 255
    opacity = 0.1 + 0.65 * evidence
    colours = 255 * matplotlib.colormaps["inferno"](evidence[..., 0])[..., :3]
    return (grey * (1 - opacity) + colours * opacity).astype("uint8")


def _by_row(confusion):
    return confusion / np.maximum(confusion.sum(1, keepdims=True), 1)


def _coloured(shares):
    return (255 * matplotlib.colormaps[HEAT](shares)[..., :3]).astype("uint8")


def _page(run, frames, data):
    title = f"{run.name}, epoch by epoch"
    classes = [entry["name"] for entry in classes_of(run.run)]
    true = [classes[label] for label in frames.shown["labels"]]
    stages = "".join(
        f'<figure><figcaption>{for_html(name.replace("_", " "))}</figcaption><img class="feature pixels" alt=""></figure>'
        for name in frames.record["features"]
    )
    maps = "".join(
        f'<figure><figcaption>{for_html(name)}</figcaption><img class="map" alt=""><output></output></figure>' for name in true
    )
    markup = MARKUP.format(stages=stages, maps=maps, last=len(data["frames"]) - 1, counted=frames.record["counted"])
    text = json.dumps(data).replace("<", "\\u003c")
    blocks = [
        ("heading", title),
        ("text", READING),
        ("html", markup),
        ("html", f'<script type="application/json" id="data">{text}</script><script>{SCRIPT}</script>'),
    ]
    return page(title, blocks, STYLE).encode()


MARKUP = """<div class="control"><button id="play" type="button">play</button>
<label for="epoch">epoch</label><input id="epoch" type="range" min="0" max="{last}" value="0"><output id="now"></output></div>
<div class="panels">
<section><h2>What it looks at</h2><p>Grad-CAM of the last feature map towards the predicted class. Above: the true class.</p>
<div class="row" id="maps">{maps}</div></section>
<section><h2>Filters of the first convolution</h2><img id="filters" class="pixels" alt=""></section>
<section><h2>Feature maps at the end of each stage</h2><p>Rows are the images above, columns the first channels.</p>
<div class="row" id="features">{stages}</div></section>
<section><h2>Confusion</h2><p>Of {counted} images of val: rows are true classes, columns answers, bright is often.</p>
<img id="confusion" class="pixels" alt=""><p id="right"></p></section>
<section><h2>Gradient of every kernel</h2><p>Norm in the epoch's last step, from the images to the classes; logarithmic.</p>
<svg id="gradients" viewBox="0 0 400 180" role="img" aria-label="gradient norms"></svg></section>
<section><h2>The way of the weights</h2><p id="way"></p>
<svg id="path" viewBox="0 0 400 220" role="img" aria-label="way of the weights"></svg></section>
</div>"""

"""The film of a run: frames while it trains, within their share of the time, and the page that shows them."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from trained_networks import trained

from callbacks import film
from callbacks.film import Film, maps_of, sketch
from foundation.checks import checked
from foundation.errors import UserError
from lab.explanations.layers import choose_layers
from lab.explanations.maps import class_maps
from lab.reports.film import path_of, write_film
from lab.reports.finished import find_finished
from lab.reports.pictures import Options
from lab.training.experiment import train
from lab.training.fitting import build

SETTINGS = {"model": "resnet6n2", "n": 1, "dataset": "digits", "image_size": 8, "images_per_class": 12, "epochs": 3}


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A run with a frame of every epoch, and one that had no time for any."""
    folder = tmp_path_factory.mktemp("film")
    places = {"output_dir": str(folder / "output"), "weights_dir": str(folder / "weights"), "film": True}
    with pytest.MonkeyPatch.context() as patched:
        for name, share in (("whole", 1e9), ("hasty", 0.0)):
            patched.setattr(Film, "share", share)
            assert train(checked(SETTINGS | places | {"run": name})) == 0
    return folder / "output"


def frames(filmed, name="whole"):
    return {int(path.stem[6:]): load_file(path) for path in sorted((filmed / name / "film").glob("epoch-*"))}


def test_there_is_a_frame_of_the_start_and_of_every_epoch(filmed):
    assert list(frames(filmed)) == [0, 1, 2, 3]


def test_frames_of_a_run_that_never_came_to_a_checkpoint_are_not_kept(filmed, tmp_path):
    """Its name is free for a run of other settings or data."""
    folder = tmp_path / "output" / "left" / "film"
    folder.mkdir(parents=True)
    for name in ("epoch-00000.safetensors", "shown.safetensors", "film.json"):
        (folder / name).write_bytes(b"of another run")
    (folder.parent / "config.json").write_text("{}")
    places = {"output_dir": str(tmp_path / "output"), "weights_dir": str(tmp_path / "weights"), "film": True, "run": "left"}
    assert train(checked(SETTINGS | places | {"epochs": 1})) == 0
    assert {path.read_bytes()[:14] for path in folder.iterdir()}.isdisjoint({b"of another run"})


def test_the_first_frame_is_of_the_network_as_training_begins(filmed):
    (run,) = find_finished(["whole"], filmed)
    initial = build(run.config, run.dataset)
    assert np.array_equal(frames(filmed)[0]["filters"], np.array(initial.get_layer("stem_conv").kernel))


def test_epochs_are_left_out_where_frames_take_more_than_their_share(filmed):
    assert list(frames(filmed, "hasty")) == [0]


def test_a_film_changes_nothing_of_the_training(filmed):
    histories = [json.loads((filmed / name / "history.json").read_text()) for name in ("whole", "hasty")]
    assert histories[0] == histories[1]


def test_a_frame_shows_the_network_that_val_is_measured_with(filmed):
    (run,) = find_finished(["whole"], filmed)
    best = run.metrics["best_epoch"]
    frame, record = frames(filmed)[best], json.loads((filmed / "whole/film/film.json").read_text())
    kernel = np.array(run.model.get_layer("stem_conv").kernel)
    assert np.array_equal(frame["filters"], kernel)
    assert frame["confusion"].sum() == record["counted"] and len(frame["gradients"]) == len(record["layers"])
    shown = load_file(filmed / "whole/film/shown.safetensors")
    places = np.linspace(0, len(run.dataset.val) - 1, film.SHOWN).round().astype(int)
    assert np.array_equal(shown["images"], run.dataset.val.read(places))
    logits = run.logits("val")[places]
    assert np.abs(np.log(frame["probabilities"]) - (logits - np.log(np.exp(logits).sum(1, keepdims=True)))).max() < 1e-3


# Behind an average, an average and a maximum, and after a last norm.
@pytest.mark.parametrize("name", ["resnet20", "preresnet20", "se-mxresnext29_16x2d"])
def test_maps_are_grad_cam_of_the_last_feature_map(name):
    model, images = trained(name, 16, blocks=1), np.random.default_rng(0).standard_normal((4, 16, 16, 3)).astype("float32")
    maps, logits = maps_of(model, images)
    expected = class_maps(model, images, np.asarray(logits.detach()).argmax(1), choose_layers(model), "grad-cam")
    assert np.abs(maps["grad-cam"] / 255 - expected).max() <= 1 / 255


def test_a_sketch_keeps_distances_and_products():
    random = np.random.default_rng(0)
    one, other = ([random.normal(size=shape) for shape in ((3, 3, 16, 32), (64, 10))] for _ in range(2))
    total = sketch([2 * a - b for a, b in zip(one, other, strict=True)])
    assert np.allclose(total, 2 * sketch(one) - sketch(other), atol=1e-3)

    def product(a, b):
        return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))

    lengths = np.sqrt(product(one, one) * product(other, other))
    for a, b in ((one, one), (one, other)):  # within six standard deviations of what 4,096 numbers tell
        assert abs(float(sketch(a) @ sketch(b)) - product(a, b)) < 6 * np.sqrt(2 / film.SKETCHED) * lengths


def test_the_way_of_the_weights_begins_at_the_start_and_meets_the_best(filmed):
    (run,) = find_finished(["whole"], filmed)
    path, best = path_of(frames(filmed), run), run.metrics["best_epoch"]
    assert (path["points"]["along"][0], path["points"]["off"][0]) == (0, 0)
    assert path["points"]["along"][best] == pytest.approx(1, abs=1e-3) and path["points"]["off"][best] < 0.02
    assert [place for place, _ in path["line"]] == pytest.approx(np.linspace(0, 1, 11), abs=1e-3)
    assert path["line"][-1][1] == pytest.approx(run.metrics["val"]["loss"], abs=1e-3)


def test_the_page_stands_alone_and_is_small(filmed):
    (run,) = find_finished(["whole"], filmed)
    html = write_film([run], Options())["html"]
    text = html.decode()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert len(html) < 10_000_000 and [frame["epoch"] for frame in data["frames"]] == [0, 1, 2, 3]
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]', text) and "http://www.w3.org" in text
    assert set(re.findall(r"https?://[^\"/]+", text)) == {"http://www.w3.org"}  # the name of SVG, which nothing fetches
    filters = Image.open(io.BytesIO(base64.b64decode(data["frames"][0]["filters"].partition(",")[2])))
    assert filters.size == (8 * 4 - 1, 2 * 4 - 1)  # 16 filters of 3x3, with a line between them
    assert len(np.unique(np.asarray(filters.convert("RGB"))[:, 16:].reshape(-1, 3), axis=0)) > 50  # none is missing
    for frame in data["frames"]:
        assert base64.b64decode(frame["filters"].partition(",")[2]).startswith(b"\x89PNG")


def test_a_long_film_leaves_frames_out_evenly(filmed, monkeypatch):
    (run,) = find_finished(["whole"], filmed)
    monkeypatch.setattr("lab.reports.film.LARGEST", len(write_film([run], Options())["html"]) - 1)
    data = json.loads(re.search(rb'id="data">(.*?)</script>', write_film([run], Options())["html"], re.DOTALL)[1])
    assert [frame["epoch"] for frame in data["frames"]] == [0, 2, 3]


def test_what_is_damaged_or_was_not_filmed_is_one_line(filmed, tmp_path):
    (run,) = find_finished(["hasty"], filmed)
    path = filmed / "hasty/film/epoch-00000.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="epoch-00000"):
        write_film([run], Options())
    path.unlink()
    with pytest.raises(UserError, match="--film"):
        write_film([run], Options())

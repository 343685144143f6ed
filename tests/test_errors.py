"""Errors image by image: which images, which classes, and the page that shows them."""

import csv
import io
import re
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import ROOT, run_python
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from datasets.catalog import load_as
from foundation.errors import UserError
from foundation.settings import Config
from lab.reports.errors import Arm, Disagreement, arms_of
from lab.reports.errors_page import SHOWN, write_errors
from lab.reports.finished import find_finished
from lab.reports.pictures import Options
from lab.runs.predictions import Predictions, write_predictions
from lab.runs.run import Run
from lab.training.evaluation import measure

answers = st.lists(st.lists(st.integers(0, 2), min_size=12, max_size=12), min_size=1, max_size=3).map(np.array)
LABELS = np.arange(12) % 3


@given(answers, answers)
def test_an_image_counts_that_all_seeds_of_one_network_have_right_and_none_of_the_other(ours, theirs):
    both = Disagreement(Arm("a", ours, LABELS), Arm("b", theirs, LABELS))
    one = [i for i in range(12) if all(ours[:, i] == LABELS[i]) and all(theirs[:, i] != LABELS[i])]
    other = [i for i in range(12) if all(ours[:, i] != LABELS[i]) and all(theirs[:, i] == LABELS[i])]
    assert sorted(both.only_first) == one and sorted(both.only_other) == other
    assert both.p == pytest.approx(mcnemar([[0, len(one)], [len(other), 0]], exact=True).pvalue)
    rows = both.by_class()
    assert [row.p for row in rows] == sorted(row.p for row in rows) and sum(row.images for row in rows) == 12
    for row in rows:
        assert (row.only_first, row.only_other) == tuple(sum(LABELS[i] == row.label for i in places) for places in (one, other))
    wanted = stats.false_discovery_control([row.p for row in rows], method="bh")
    assert [row.adjusted for row in rows] == pytest.approx(wanted)


def test_the_answer_of_an_arm_is_that_of_most_seeds():
    arm = Arm("a", np.array([[1, 0, 2], [2, 0, 1], [2, 1, 1]]), np.zeros(3, int))
    assert [arm.answer(i) for i in range(3)] == [2, 0, 1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, image_folder):
    """Networks `a` (two seeds) and `b` on pictures: `a` has the first two test images wrong, `b` the whole first class."""
    folder = tmp_path_factory.mktemp("errors")
    shutil.copytree(image_folder, folder / "pictures")
    for split in ("train", "test"):
        (folder / "pictures" / split / "grey").rename(folder / "pictures" / split / "<b>grey")
    for name, norm, seed, wrong in (("a-0", "batch", 0, 2), ("a-1", "batch", 1, 2), ("b-0", "group", 0, 8)):
        leave_run(folder, wrong, run=name, norm=norm, seed=seed, dataset=f"folder:{folder / 'pictures'}")
    return folder


def leave_run(folder, wrong, **settings):
    """Leaves what a finished run of these settings leaves, with so many of the first test images wrong."""
    places = {"output_dir": str(folder / "output"), "weights_dir": str(folder / "weights"), "data_dir": str(folder / "data")}
    config = Config(image_size=8, epochs=1, **places, **settings)
    run, dataset = Run.of(config), load_as(config)
    run.output.mkdir(parents=True)
    predictions = {}
    for name in ("val", "test"):
        split = getattr(dataset, name)
        answers = np.where(np.arange(len(split)) < wrong, (split.labels + 1) % 3, split.labels)
        predictions[name] = Predictions.of(9 * np.eye(3)[answers], split)
    measured = {name: measure(found.logits, found.labels) for name, found in predictions.items()}
    rest = {"epochs": 1, "best_epoch": 1, "seconds": 1.0, "images_per_second": 9.0, "params": 1, "macs": 1}
    run.write_json("config.json", asdict(config))
    run.write_json("classes.json", [{"label": i, "name": name, "id": ""} for i, name in enumerate(dataset.class_names)])
    run.write_json("metrics.json", rest | measured | {"train": measured["val"]})
    write_predictions(run, predictions)


def test_the_page_shows_the_images_and_the_table_names_them(runs):
    found = find_finished(["b-0", "a-0", "a-1"], runs / "output")
    made = write_errors(found, Options(split="test"))
    page = made["html"].decode()
    assert "b-0 (1 run), a (2 runs); 24 images that all runs have." in page
    assert "6 images only a has right, 0 images only b-0: McNemar&#x27;s p 0.031." in page
    assert "In all seeds both have 16 right and 2 wrong." in page
    shown = page.partition("<h2>Only a is right</h2>")[2]
    assert page.count("<figure>") == 6 and len(re.findall(r"<small>test/&lt;b&gt;grey/\d+\.png</small>", shown)) == 6
    assert "taken for dark" in shown and "<b>grey</b>" not in page and not re.search(r'(src|href)="(?!data:)', page)
    rows = list(csv.reader(io.StringIO(made["csv"].decode())))
    assert rows[0] == ["image", "true", "b-0", "a (1)", "a (2)"] and len(rows) == 9
    assert rows[1][1:] == ["<b>grey", *["dark"] * 3] and rows[3][1:] == ["<b>grey", "dark", "<b>grey", "<b>grey"]


def test_the_errors_of_one_network_are_what_all_its_seeds_have_wrong(runs):
    page = write_errors(find_finished(["a-0", "a-1"], runs / "output"), Options(split="test"))["html"].decode()
    assert "2 images (8.33 %) none of its runs has right." in page and page.count("<figure>") == 2


def test_it_is_drawn_from_the_command_line_without_a_network(runs):
    process = run_python(ROOT / "visualize.py", "errors", "b-0", "a-0", "--split", "test", cwd=runs, draws=True)
    assert process.returncode == 0 and process.stdout == "output/figures/b-0+a-0/errors.html\n", process.stderr
    assert {path.name for path in (runs / "output/figures/b-0+a-0").iterdir()} == {"errors.html", "errors.csv"}


def test_train_has_no_predictions(runs):
    with pytest.raises(UserError, match="predictions are kept of val and test, not of train"):
        write_errors(find_finished(["a-0"], runs / "output"), Options(split="train"))


def test_a_data_set_that_changed_is_not_shown_as_what_was_measured(runs, tmp_path):
    shutil.copytree(runs / "pictures", tmp_path / "pictures")
    (tmp_path / "pictures/test/dark/000.png").unlink()
    (run,) = find_finished(["a-0"], runs / "output")
    run.dataset = load_as(replace(run.config, dataset=f"folder:{tmp_path / 'pictures'}"))
    with pytest.raises(UserError, match="has changed since run 'a-0' was trained on it"):
        run.images_of("test", ["test/dark/000.png"])


class Pretended:
    """A run as `arms_of` reads it."""

    def __init__(self, name, run, predictions, seed=0):
        self.name, self.run, self.config = name, run, replace(run.read_config(), seed=seed)
        self.predictions = lambda split: predictions


def test_only_images_that_all_runs_have_are_compared(runs):
    run = Run.find("a-0", runs / "output")
    logits, labels = np.eye(3, dtype="float32")[[0, 1, 2, 0]], np.array([0, 1, 2, 0])
    one, other = Predictions(logits, labels, (7, 3, 5, 1)), Predictions(logits[[2, 0]], labels[[2, 0]], (5, 1))
    arms, images = arms_of([Pretended("x", run, one), Pretended("y", run, other, seed=1)], "val")
    assert images == [5, 1] and [arm.answers.tolist() for arm in arms] == [[[2, 0], [2, 0]]]  # seeds of one arm
    apart = Predictions(logits, labels, (17, 13, 15, 11))
    with pytest.raises(UserError, match="no image of val in common"):
        arms_of([Pretended("x", run, one), Pretended("y", run, apart)], "val")
    with pytest.raises(UserError, match=r"are of 4 classes, classes\.json names 3"):
        arms_of([Pretended("x", run, Predictions(np.eye(4), np.arange(4), (7, 3, 5, 1)))], "val")
    with pytest.raises(UserError, match="trained on other data"):
        arms_of([Pretended("x", run, one), Pretended("y", run, Predictions(logits, (labels + 1) % 3, one.images))], "val")


def test_a_page_of_many_errors_stays_a_page(runs):
    (run,) = find_finished(["a-0"], runs / "output")
    many = Predictions(np.eye(3, dtype="float32")[np.ones(500, int)], np.zeros(500, int), tuple(range(500)))
    run.predictions = lambda split: many
    run.images_of = lambda split, identities: np.zeros((len(identities), 4, 4, 1), "uint8")
    page = write_errors([run], Options(split="val"))["html"].decode()
    assert page.count("<figure>") == SHOWN and f"{SHOWN} of 500 are shown, evenly spaced over the classes." in page

"""Figures: every one is drawn from real runs, and the numbers in them are those of independent formulas."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, run_python
from PIL import Image
from processes import Run as ForkedRun

from dispatcher import build_model
from foundation.errors import UserError
from foundation.settings import Config
from lab.reports import demo
from lab.reports.accuracy_and_cost import by_data, compare
from lab.reports.curves import compare_runs, draw_rates, gap
from lab.reports.finished import find_finished
from lab.reports.landscape import filter_normalized_direction, measure_landscape
from lab.reports.lesion import draw_lesions, measure_lesions
from lab.reports.pictures import PICTURES, Options, folder_in, write_pictures
from lab.reports.results import repetitions
from lab.runs.run import Run
from lab.training.evaluation import cross_entropy, predict

NAMES = ["demo-resnet32", "demo-plain32"]
SETTINGS = {"dataset": "digits", "image_size": 8, "n": 1, "epochs": 2, "batch_size": 128}
LAYERS = ["stem_conv/kernel", "stage1_block1/conv1/kernel", "classifier/kernel"]
FLOW = {"layers": LAYERS, "epoch": [1, 2], "gradient_norm": [[1.0, 0.5, 0.0], [0.9, 0.4, float("nan")]]}
FLOW |= {"weight_norm": [[5.0, 4.0, 3.0]] * 2, "update_ratio": [[0.01, 0.02, 0.001]] * 2}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with the demo's two runs, of one block a stage and two epochs."""
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "SETTINGS", SETTINGS)
        patch.setattr("lab.engines.fleet.start_process", ForkedRun)
        assert demo.train_demo(str(folder / "output"), str(folder / "weights")) == NAMES
    for name in NAMES:
        (folder / "output" / name / "flow.json").write_text(
            json.dumps(FLOW).replace("NaN", "0.3")
        )  # runs end before they write NaN
    return folder


@pytest.fixture(scope="session")
def runs(folder):
    return find_finished(NAMES, folder / "output")


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "film"])  # which needs a recording: tests/test_film.py
def test_every_figure_is_made_of_real_runs(name, runs, tmp_path):
    written = list(write_pictures(name, runs, Options(grid=3, images=50), folder_in(tmp_path, tmp_path, "both")))
    wanted = [tmp_path / run.name for run in runs] if PICTURES[name].runs == "one" else [tmp_path / "both"]
    assert written == [folder / f"{name}.{PICTURES[name].ending}" for folder in wanted]
    for path in written:
        if path.suffix == ".html":
            assert path.stat().st_size > 1000 and path.with_suffix(".csv").is_file()
            continue
        assert min(Image.open(path).size) > 300
        assert path.with_suffix(".svg").read_text().startswith("<?xml")


def test_all_draws_what_applies_and_says_what_does_not(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("foundation.style.image_of", lambda *_, **__: b"")  # drawn above
    chosen = list(write_pictures("all", runs[:1], Options(grid=3, images=50), folder_in(tmp_path, None, "one")))
    no_film = f"run '{runs[0].name}' recorded no film: train one with --film"
    assert {str(each) for each in chosen if isinstance(each, UserError)} == {"'gap' compares two runs, received 1", no_film}
    drawn = {each.stem for each in chosen if not isinstance(each, UserError)}
    assert drawn == PICTURES.keys() - {"gap", "film"}
    assert all(each.parent == runs[0].run.output / "figures" for each in chosen if not isinstance(each, UserError))


def test_the_demo_is_not_trained_again(folder, runs, monkeypatch):
    monkeypatch.setattr(demo, "SETTINGS", SETTINGS)
    before = [(run.run.output / "metrics.json").stat().st_mtime_ns for run in runs]
    assert demo.train_demo(str(folder / "output"), str(folder / "weights")) == NAMES
    assert before == [(run.run.output / "metrics.json").stat().st_mtime_ns for run in runs]


def test_a_study_is_its_finished_runs(folder, runs, tmp_path):
    study = tmp_path / "output/studies/skip/runs"
    study.mkdir(parents=True)
    for name in NAMES:
        (study / name).symlink_to(folder / "output" / name)
    (study / "begun").mkdir()
    for named in ("skip", str(tmp_path / "output/studies/skip")):
        assert [run.name for run in find_finished([named], tmp_path / "output")] == sorted(NAMES)
    assert [run.name for run in find_finished([NAMES[0], str(folder / "output" / NAMES[0])], folder / "output")] == NAMES[:1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lesions", "r"], "did you mean 'lesion'"),
        (["lesion"], "name a run or a study"),
        (["landscape", "r", "--grid", "8"], "--grid is 8, allowed: odd numbers"),
        (["landscape", "r", "--reach", "0"], "--reach is 0.0, allowed: more than 0"),
        (["lesion", "r", "--images", "0"], "--images is 0, allowed: at least 1"),
        (["curves", "demo-resnet23"], "unknown run 'demo-resnet23'; did you mean 'demo-resnet32'"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, folder):
    before = sorted(folder.rglob("*"))
    process = run_python(ROOT / "visualize.py", *arguments, cwd=folder)
    assert process.returncode == 2 and words in process.stderr and process.stderr.count("\n") == 1, process.stderr
    assert sorted(folder.rglob("*")) == before


def test_without_a_figure_all_are_listed(tmp_path):
    process = run_python(ROOT / "visualize.py", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert [line.split()[0] for line in process.stdout.splitlines()] == [*PICTURES, "all"]


def test_a_run_that_is_not_finished_is_named(tmp_path):
    run = Run("begun", tmp_path, tmp_path)
    run.output.mkdir(exist_ok=True)
    run.write_json("config.json", vars(Config()))
    with pytest.raises(UserError, match="run 'begun' is not finished"):
        find_finished(["begun"], tmp_path)


def test_a_run_without_recorded_gradients_says_how_to_record_them(runs, tmp_path):
    run = find_finished(NAMES[:1], runs[0].run.output.parent)[0]
    run.run = SimpleNamespace(output=tmp_path)
    with pytest.raises(UserError, match="train one with --track-gradients"):
        PICTURES["gradients"].draw([run], Options())


def test_a_lesion_study_measures_each_block_once_and_leaves_the_network_alone(runs):
    for run, must_stay in zip(runs, ([False] * 3, [False, True, True]), strict=True):
        before = run.logits("val")
        lesions = measure_lesions(run.model, *run.sample(Options()))
        assert lesions.whole == pytest.approx(run.metrics["val"]["accuracy"], abs=1e-6)
        assert list(lesions.without) == ["stage1_block1", "stage2_block1", "stage3_block1"]
        assert np.array_equal(before, predict(run.model, run.sample(Options())[0]))
        # A plain block can be left out only where it changes no shape.
        assert [value is None for value in lesions.without.values()] == must_stay


def test_a_lesion_studys_labels_are_true_of_every_network():
    """By name where all have the same blocks, else by number: the fourth block is another one in a network of another n."""

    def run(name, n):
        model = build_model("resnet6n2", (8, 8, 3), 10, blocks=n)
        sample = [(np.zeros((2, 8, 8, 3), "float32"),)], np.array([0, 1])
        return SimpleNamespace(name=name, model=model, sample=lambda options: sample)

    small, twin, large = run("small", 1), run("twin", 1), run("large", 2)
    for pair, wanted in (((small, twin), ["1.1", "2.1", "3.1"]), ((small, large), ["1", "2", "3", "4", "5", "6"])):
        (axes,) = draw_lesions(pair, Options()).axes
        assert [label.get_text() for label in axes.get_xticklabels()] == wanted


def test_a_landscape_is_the_loss_at_moved_weights_and_gives_the_weights_back(runs):
    run = runs[0]
    batches, labels = run.sample(Options(images=40))
    weights = {variable.path: np.array(variable) for variable in run.model.trainable_variables}
    landscape = measure_landscape(run.model, batches, labels, points=3, reach=0.5, seed=3)
    for variable in run.model.trainable_variables:
        assert np.array_equal(weights[variable.path], np.array(variable))
    assert landscape.at_the_weights == pytest.approx(cross_entropy(predict(run.model, batches), labels).mean())
    across, up = (filter_normalized_direction(weights, 3, number) for number in (0, 1))
    for variable in run.model.trainable_variables:
        path = variable.path
        variable.assign(weights[path] + 0.5 * across[path] - 0.5 * up[path])
    assert landscape.losses[0, 2] == pytest.approx(cross_entropy(predict(run.model, batches), labels).mean(), rel=1e-4)
    for variable in run.model.trainable_variables:
        variable.assign(weights[variable.path])


def test_a_gap_is_the_difference_in_points_over_the_epochs_that_both_have():
    ours = {"accuracy": [0.5, 0.75, 0.9], "val_accuracy": [0.4, 0.6, 0.8]}
    theirs = {"accuracy": [0.25, 0.5], "val_accuracy": [0.5, 0.5]}
    assert gap(ours, theirs, "train") == pytest.approx([25, 25]) and gap(ours, theirs, "val") == pytest.approx([-10, 10])


def test_runs_that_differ_by_their_seed_are_one_line_with_a_band():
    history = {"epoch": [1, 2], "accuracy": [0.5, 0.7], "loss": [2.0, 1.0], "val_accuracy": [0.4, 0.6], "val_loss": [2.0, 1.0]}
    better = history | {"val_accuracy": [0.6, 0.8]}
    runs = [
        SimpleNamespace(name=f"a-{seed}", config=replace(Config(), seed=seed, run=f"a-{seed}"), history=values)
        for seed, values in ((0, history), (1, better))
    ]
    axes = compare_runs(runs, Options()).axes[0]
    assert [line.get_label() for line in axes.lines] == ["a"] and len(axes.collections) == 1
    assert axes.lines[0].get_ydata() == pytest.approx([50, 70])


def test_runs_that_start_each_from_the_run_of_its_seed_are_repetitions():
    configs = [replace(Config(), seed=seed, init_from=f"o/runs/t-source-{seed}") for seed in (0, 1)]
    runs = [SimpleNamespace(name=f"t-{config.seed}", config=config) for config in configs]
    other = SimpleNamespace(name="u-1", config=replace(configs[1], init_from="o/runs/others-1"))
    assert repetitions([*runs, other]) == {"t": runs, "u-1": [other]}


def test_repetitions_of_other_settings_are_not_hidden_behind_an_equal_name():
    configs = [replace(Config(), seed=seed, init_lr=rate) for seed, rate in enumerate((0.1, 0.1, 0.2, 0.2))]
    runs = [SimpleNamespace(name=f"a-{config.seed}", config=config) for config in configs]
    assert repetitions(runs) == {"a-0": runs[:2], "a-2": runs[2:]}


def test_runs_of_one_seed_are_no_repetitions():
    """Such as those of other data or another backend, which have names of their own and the same settings."""
    seeds = {"a-0": 0, "a-0-2": 0, "a-1": 1}
    runs = [SimpleNamespace(name=name, config=replace(Config(), seed=seed, run=name)) for name, seed in seeds.items()]
    assert repetitions(runs) == {"a": [runs[0], runs[2]], "a-0-2": [runs[1]]}


def test_runs_of_one_name_are_told_apart_by_their_folders(folder, tmp_path, monkeypatch):
    for number, place in enumerate(("outA", "outB")):
        copied = tmp_path / place / "r"
        copied.mkdir(parents=True)
        for file in (folder / "output" / NAMES[number]).glob("*.json"):
            (copied / file.name).write_bytes(file.read_bytes())
    found = find_finished([str(tmp_path / "outA/r"), str(tmp_path / "outB/r")], tmp_path)
    assert [run.name for run in found] == ["outA/r", "outB/r"]
    assert [line.get_label() for line in compare_runs(found, Options()).axes[0].lines] == ["outA/r", "outB/r"]
    assert len([axes for axes in PICTURES["gradients"].draw(found, Options()).axes if axes.get_title()]) == 2
    monkeypatch.setattr("lab.benchmarks.inference.milliseconds_of", lambda configs: [1.0] * len(configs))
    ((data, table, _),) = compare(Run.finished("out*/*", tmp_path), "runs")
    assert data == "digits" and "outA/r" in table and "outB/r" in table


def test_throughput_is_shown_by_epoch_and_as_a_mean_where_it_was_not_recorded(runs):
    speeds = draw_rates(runs, Options()).axes[1].lines
    for run, line in zip(runs, speeds, strict=True):
        assert line.get_ydata().tolist() == run.speed["images_per_second"] and min(line.get_ydata()) > 0
        assert max(line.get_ydata()) < line.axes.get_ylim()[1]
    old = SimpleNamespace(name="old", speed=None, history=runs[0].history, metrics={"images_per_second": 123.0})
    assert draw_rates([old], Options()).axes[1].lines[0].get_ydata() == pytest.approx(123.0)


def test_runs_on_unlike_data_are_never_ranked_together(tmp_path):
    def run(dataset, images=100, **settings):
        metrics = {"test": {"images": images}}
        return SimpleNamespace(name=dataset, config=replace(Config(), dataset=dataset, **settings), metrics=metrics)

    folders = [f"folder:{tmp_path / name / 'birds'}" for name in "ab"]
    runs = [run("digits"), run("digits", seed=3, init_lr=0.2, image_size=16), run("digits:0-4"), *map(run, folders)]
    runs += [run("digits", images_per_class=5), run("digits", images=180)]
    groups = by_data(runs)
    assert groups.pop("digits") == runs[:2]
    assert groups == dict(
        zip(("digits0-4", "birds", "birds-2", "digits-2", "digits-3"), ([run] for run in runs[2:]), strict=True)
    )

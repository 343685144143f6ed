"""`explain.py`: what it writes of a run, what it says of a user's mistakes."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, run_python
from PIL import Image

from explain import main
from foundation.errors import UserError
from foundation.flags import read_config
from foundation.scripts import run_script
from foundation.style import image_of
from lab.explanations import measurement, quality
from lab.explanations.choice import run_of
from lab.explanations.drawing import SHOWN, draw_overview, draw_sheet, enlarged_image, overlay
from lab.explanations.examples import Group, groups_of, label_of, pictures, target_labels
from lab.explanations.gallery import Gallery, measure_table
from lab.explanations.measurement import measure
from lab.explanations.network import networks_of
from lab.explanations.pages import class_page
from lab.training.experiment import train
from lab.training.fitting import build

SETTINGS = [
    "--model",
    "resnet6n2",
    "--n",
    "1",
    "--batch-size",
    "16",
    "--image-size",
    "12",
    "--epochs",
    "2",
    "--val-fraction",
    "0.2",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, image_folder):
    """A folder with the runs `one` and its copy `same`, and `other` of another seed, hence another val."""
    folder = tmp_path_factory.mktemp("explained")
    places = ["--data-dir", f"{folder}/data", "--output-dir", f"{folder}/output", "--weights-dir", f"{folder}/weights"]
    for name, seed in (("one", "0"), ("other", "1")):
        assert train(read_config(["--dataset", f"folder:{image_folder}", *SETTINGS, *places, "--run", name, "--seed", seed])) == 0
    for kind in ("output", "weights"):
        shutil.copytree(folder / kind / "one", folder / kind / "same")
    return folder


def networks(folder, *names, **options):
    return networks_of([run_of(name, folder / "output", folder / "weights") for name in names], **options)


@pytest.fixture
def explain(folder, monkeypatch, capsys):
    """Runs the script in the folder of the runs; returns exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setattr("sys.argv", ["explain.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_script(main)
        return end.value.code, *capsys.readouterr()

    return run


def test_one_command_writes_a_page_and_a_sheet_for_each_class_an_index_and_numbers(folder):
    written = folder / "output" / "one" / "explain"
    shutil.rmtree(written, ignore_errors=True)  # of another test
    flags = ["--count", "3", "--sample", "12", "--layers", "last-stage"]
    process = run_python(ROOT / "explain.py", "one", *flags, backend=None, cwd=folder)
    assert process.returncode == 0, process.stderr
    assert str(written.relative_to(folder) / "index.html") in process.stdout
    pages = [f"class-0{i}-{name}" for i, name in enumerate(("dark", "grey", "light"))]
    names = {f"{page}.{kind}" for page in (*pages, "index") for kind in ("html", "png")} | {"numbers-one.png", "results.json"}
    names |= {"answers.csv"}
    assert {path.name for path in written.iterdir()} == names
    index = (written / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', index)
    assert sorted(links) == [f"{page}.html" for page in pages]  # classes with errors stand first
    record = json.loads((written / "results.json").read_text())
    assert record["backend"] == "torch"  # where nobody names one
    results = record["networks"]["one"]
    assert results["images"] == 12 and list(results["likeness"]) == ["classifier", "stage3", "stage2", "stage1", "stem"]
    assert [m["name"].split(",")[0] for m in results["measures"]] == ["deletion", "insertion"]  # nobody knows any boxes
    for path in written.glob("*.png"):
        Image.open(path).verify()


def test_a_page_shows_right_and_wrong_answers_with_probabilities_and_says_where_there_are_fewer(folder):
    (network,) = networks(folder, "one")
    val = network.dataset.val
    probabilities = network.probabilities(val)
    predicted = probabilities.argmax(1)
    page = class_page(groups_of([network], ["dark"], 50, "predicted")[0], 50, [network], "")
    own = np.flatnonzero(val.labels == 0)
    right = int((predicted[own] == 0).sum())
    assert page.count("<figure") == len(own) == page.count("true class: dark")
    assert page.count('class="right"') == right and page.count('class="wrong"') == len(own) - right
    assert f"{right or 'no'} right answer" in page and "fewer than the 50 asked for" in page
    for i in own:
        shown = f"{network.dataset.class_names[predicted[i]]} {100 * probabilities[i].max():.0f}\N{NO-BREAK SPACE}%"
        assert shown in page


def test_examples_are_the_first_of_val_and_not_chosen_by_their_maps(folder):
    (network,) = networks(folder, "one")
    val = network.dataset.val
    files = val.names("val")
    predicted = network.probabilities(val).argmax(1)
    for group, label in zip(groups_of([network], ["light", "dark"], 2, "predicted"), (2, 0), strict=True):
        for shown, kind in ((group.right, predicted == label), (group.wrong, predicted != label)):
            wanted = np.flatnonzero((val.labels == label) & kind)[:2]
            assert [example.name for example in shown] == [files[i] for i in wanted]
            for example, i in zip(shown, wanted, strict=True):
                assert np.array_equal(example.image, val.read(np.array([i]))[0])


def test_two_networks_stand_side_by_side(folder):
    pair = networks(folder, "one", "same")
    page = Gallery(pair, "true", "command").show_classes(["dark", "grey"], 1, 6)
    assert page.parent.name == "beside-same" and page.parent.parent == pair[0].run.output / "explain"
    shown = (page.parent / "class-00-dark.html").read_text()
    assert shown.count("<img") == 3 * shown.count("<figure") > 0 and "same" in shown
    header, *rows = csv.reader((page.parent / "answers.csv").read_text().splitlines())
    val = pair[0].dataset.val
    assert header == ["image", "true", "one: predicted", "one: probability", "same: predicted", "same: probability"]
    assert [row[0] for row in rows] == val.names("val") and all(row[2:4] == row[4:] for row in rows)
    assert [row[1] for row in rows] == [pair[0].dataset.class_names[label] for label in val.labels]
    index = page.read_text().partition("All at once")[0]
    assert index.count("<img") == 4 and index.count("<small>same</small>") == 2  # of each class the maps of both
    assert set(json.loads((page.parent / "results.json").read_text())["networks"]) == {"one", "same"}
    with pytest.raises(UserError, match="can't stand side by side"):
        networks(folder, "one", "other")


def test_a_wildcard_takes_the_best_run_on_val(folder, capsys):
    accuracy = {
        name: json.loads((folder / f"output/{name}/metrics.json").read_text())["val"]["accuracy"] for name in ("one", "other")
    }
    best = max(accuracy, key=accuracy.get)
    assert networks(folder, "o*")[0].run.name == best and best in capsys.readouterr().out
    assert networks(folder, str(folder / "output/o*"))[0].run.name == best
    with pytest.raises(UserError, match="no finished run"):
        networks(folder, "x*")


def test_a_users_pictures_are_explained_whatever_their_shape(explain, folder, tmp_path):
    Image.fromarray(np.full((40, 90, 4), 128, "uint8")).save(tmp_path / "wide <b>.png")
    Image.fromarray(np.full((9, 5), 30, "uint8")).save(tmp_path / "small.gif")
    code, _, _ = explain("one", "--images", tmp_path / "wide <b>.png", tmp_path / "small.gif", "--class", "grey")
    assert not code
    page = (folder / "output/one/explain/pictures.html").read_text()
    assert page.count("<figure") == 2 and "wide &lt;b&gt;.png" in page and "true class" not in page and "towards grey" in page
    assert (folder / "output/one/explain/pictures.png").stat().st_size > 10_000


def test_layers_may_be_named_with_spaces_between_them(explain, folder, tmp_path):
    Image.fromarray(np.full((9, 5), 30, "uint8")).save(tmp_path / "small.gif")
    code, _, error = explain("one", "--images", tmp_path / "small.gif", "--layers", "stage2_block1, stage3_block1/conv2")
    assert not code, error


def test_a_picture_that_is_none_is_one_line(explain, folder, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
    before = sorted((folder / "output/one").rglob("*"))
    code, _, error = explain("one", "--images", tmp_path / "bad.jpg")
    assert code == 2 and error.count("\n") == 1 and "bad.jpg" in error
    assert sorted((folder / "output/one").rglob("*")) == before
    with pytest.raises(UserError, match=r"missing\.png"):
        pictures([tmp_path / "missing.png"], 12, 3, {})


def test_mistakes_are_named_with_what_is_allowed(folder):
    with pytest.raises(UserError, match="did you mean 'grey'"):
        label_of("gray", ("dark", "grey", "light"))
    with pytest.raises(UserError, match=r"unknown method 'gradcam'; did you mean 'grad-cam'"):
        networks(folder, "one", method="gradcam")
    with pytest.raises(UserError, match="unknown layer 'stage3_block2'; did you mean 'stage3_block1'"):
        networks(folder, "one", layer_names=["stage3_block2"])
    with pytest.raises(UserError, match="unknown run 'onne'; did you mean 'one'"):
        networks(folder, "onne")
    with pytest.raises(UserError, match="the true class of these pictures is not known"):
        target_labels("true", np.ones((1, 3)), None, ("dark", "grey", "light"))


@pytest.mark.parametrize("arguments", [(), ("one", "--count", "0"), ("one", "--classes", "gray"), ("one", "--class", "gray")])
def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_2(explain, arguments):
    code, _, error = explain(*arguments)
    assert code == 2 and error.startswith("error: ") and error.count("\n") == 1


def test_random_weights_come_from_the_top_down_and_leave_the_network_alone(folder):
    (network,) = networks(folder, "one")
    before = [np.array(variable) for variable in network.model.variables]
    changed = []
    for part, other in quality.randomised(network):
        same = [np.array_equal(np.array(v), old) for v, old in zip(other.model.variables, before, strict=True)]
        own = {
            v.path.partition("/")[0].partition("_")[0]
            for v, is_same in zip(other.model.variables, same, strict=True)
            if not is_same
        }
        changed.append(part)
        assert own == set(changed)
    assert changed == ["classifier", "stage3", "stage2", "stage1", "stem"]
    for variable, old in zip(network.model.variables, before, strict=True):
        np.testing.assert_array_equal(np.array(variable), old)


def test_a_deep_stem_gets_random_weights_at_once_and_last(folder):
    (network,) = networks(folder, "one")
    config = replace(network.config, stem="deep")
    deep = replace(network, config=config, model=build(config, network.dataset))
    assert [part for part, _ in quality.randomised(deep)] == ["classifier", "stage3", "stage2", "stage1", "stem"]


def test_deletion_ends_in_the_mean_colour_and_insertion_in_the_image(folder):
    (network,) = networks(folder, "one")
    val = network.dataset.val.select(np.arange(4))
    classes = val.labels
    maps = np.random.default_rng(0).random((4, 12, 12))
    deletion, insertion = quality.deletion_and_insertion(network, val.read(), classes, maps)
    whole = network.probabilities(val)[np.arange(4), classes]
    np.testing.assert_allclose(deletion[:, 0], whole, rtol=1e-5)
    np.testing.assert_allclose(insertion[:, -1], whole, rtol=1e-5)
    assert np.ptp(deletion[classes == classes[0], -1]) < 1e-6  # nothing is left that tells images apart
    assert quality.area(np.ones(quality.STEPS)) == pytest.approx(1)


def test_the_numbers_of_a_sample_are_the_same_again(folder):
    (network,) = networks(folder, "one")
    first, again = (measure(network, "true", 10) for _ in range(2))
    assert first.measures == again.measures and first.likeness == again.likeness and first.images == 10


def test_deletion_and_insertion_look_all_over_a_sample_that_is_sorted_by_class(folder, monkeypatch):
    """Both begin or end with the whole image, whose probability is known; the page says how many images they are of."""
    monkeypatch.setattr(measurement, "CURVE_IMAGES", 4)
    (network,) = networks(folder, "one")
    val = network.dataset.val.select(np.argsort(network.dataset.val.labels)[:10])
    found = measure(replace(network, dataset=replace(network.dataset, val=val)), "true", 10)
    spread = [0, 3, 6, 9]
    whole = network.probabilities(val)[spread, val.labels[spread]].mean()
    assert found.curves["deletion, trained"][0] == pytest.approx(whole) == found.curves["insertion, random"][-1]
    header, *rows = measure_table(found)
    assert found.images == 10 and [row[header.index("images")] for row in rows] == ["4", "4"]


def test_an_overlay_is_bright_where_the_map_is_and_grey_elsewhere():
    image = np.full((12, 12, 3), (200, 40, 40), "uint8")
    heat = np.zeros((12, 12))
    heat[:4, :4] = 1
    shown = overlay(image, heat)
    assert shown.shape == enlarged_image(image).shape and SHOWN <= len(shown) < SHOWN + 12 and shown.dtype == np.uint8
    assert np.ptp(shown[-1, -1].astype(int)) < 8 and shown[0, 0].sum() > 2 * shown[-1, -1].sum()
    file = io.BytesIO()
    Image.fromarray(shown).save(file, "png")


def test_names_like_markup_stay_text(folder):
    pair = networks(folder, "one", "same")
    example = groups_of(pair, ["dark"], 1, "true")[0]
    shown = (example.right + example.wrong)[0]
    nasty = replace(
        shown, name="<i>", true="<script>", answers=[replace(a, network="<b>", predicted="<u>") for a in shown.answers]
    )
    odd = replace(nasty, name="$_$.png", answers=[replace(a, network="$_$", predicted="$^$") for a in shown.answers])
    assert image_of(draw_sheet("$_$", [("right", [odd])], pair), "png")
    assert image_of(draw_overview([Group("$_$", [odd], [], 1, 0)], 1, ["$_$", "other"]), "png")
    page = class_page(Group("<script>", [nasty], [], 1, 0), 1, pair, "<script>")
    assert not {"<script>", "<i>", "<u>"} & set(re.findall("<[a-z]+>", page.partition("<figure")[2])) and "&lt;script&gt;" in page
    assert "<script" not in page


def test_runs_of_one_name_are_not_explained_side_by_side():
    with pytest.raises(UserError, match="two runs are called 'r'"):
        networks_of([SimpleNamespace(name="r"), SimpleNamespace(name="r")])


@pytest.mark.parametrize("flags", [["--classes", "dark"], ["--count", "3"], ["--sample", "9"]])
def test_what_is_for_val_is_refused_beside_pictures_of_ones_own(flags, monkeypatch):
    monkeypatch.setattr("sys.argv", ["explain.py", "r", "--images", "robin.jpg", *flags])
    with pytest.raises(UserError, match=f"{flags[0]} is for pictures of val"):
        main()

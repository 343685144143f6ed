"""Starting from trained weights, frozen parts, other weights of classes, and what stands beside a run's plain figure."""

import json
import re
import shutil
from contextlib import nullcontext
from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
import torch
from conftest import ROOT, run_python, write_images
from safetensors.numpy import load_file, save_file
from whole_runs import newest_weights, train

import lab.training.experiment as experiment
from datasets.batches import Batches
from datasets.catalog import load_as
from foundation.errors import UserError
from foundation.settings import Config
from lab.runs.checkpoints import best_weights
from lab.runs.run import Run
from lab.training.ensembles import average_checkpoints, predict_views
from lab.training.evaluation import predict
from lab.training.fitting import build
from lab.training.transfer import check_source, freeze, take_weights

SMALL = ["--n", "1", "--epochs", "2"]


@pytest.fixture(scope="module")
def source(tmp_path_factory, image_folder):
    """A folder with a finished run "a", and its settings."""
    folder = tmp_path_factory.mktemp("source")
    process = train(folder, image_folder, "--run", "a", "--ema-decay", "0", *SMALL)
    assert process.returncode == 0, process.stderr
    run = Run.find("a", folder / "output", folder / "weights")
    folders = {name: str(folder / name.removesuffix("_dir")) for name in ("output_dir", "weights_dir", "data_dir")}
    return folder, replace(run.read_config(), **folders)


def test_a_frozen_part_keeps_what_it_took_from_another_run_and_the_rest_learns(source, image_folder):
    folder, _ = source
    process = train(folder, image_folder, "--run", "b", "--init-from", "a", "--freeze", "stages:1-2", "--ema-decay", "0", *SMALL)
    assert process.returncode == 0, process.stderr
    assert "from a: " in process.stdout and "begun anew: none; left over: none" in process.stdout
    before, after = best_weights(Run.at(folder / "output/a")), newest_weights(folder, "b")["model"]
    for path, value in after.items():
        is_frozen = path.startswith(("stem", "stage1", "stage2"))
        assert np.array_equal(value, before[path]) == is_frozen, path


def test_a_run_that_starts_again_starts_from_what_it_was_given(source, image_folder):
    """Also where all its checkpoints were lost to damage."""
    folder, _ = source
    flags = ["--run", "c", "--init-from", "a", "--freeze", "backbone", "--ema-decay", "0", *SMALL]
    said = [train(folder, image_folder, *flags, *more).stdout for more in ([], ["--start-epoch", "0"])]
    for path in (folder / "weights/c").glob("epoch-*"):
        (path / "model.safetensors").write_bytes(b"damaged")
    said.append(train(folder, image_folder, *flags).stdout)
    assert [text.count("from a: ") for text in said] == [1, 1, 1]
    kernel, after = "stem_conv/kernel", newest_weights(folder, "c")["model"]
    assert np.array_equal(after[kernel], best_weights(Run.at(folder / "output/a"))[kernel])


def test_weights_that_learned_from_what_is_val_here_are_refused(source, image_folder):
    """Val is drawn from train by the seed: what is val for seed 1 was in part train for seed 0."""
    folder, _ = source
    process = train(folder, image_folder, "--run", "d", "--init-from", "a", "--seed", "1", *SMALL)
    assert process.returncode == 2 and process.stderr.count("\n") == 1
    assert "learned from images that are val or test here: it was split by seed 0" in process.stderr
    assert not (folder / "output/d").exists()


@pytest.mark.parametrize(
    "there, here, is_leak",
    [
        ({"dataset": "digits"}, {"dataset": "digits:5-9"}, True),  # which is split by an order of its own
        ({"dataset": "digits:3-7"}, {"dataset": "digits:5-9"}, True),
        ({"dataset": "digits:5-9", "val_fraction": 0.2}, {"dataset": "digits:5-9"}, True),
        ({"dataset": "digits:0-4"}, {"dataset": "digits:5-9"}, False),
        ({"dataset": "digits:0-4", "seed": 1}, {"dataset": "digits:5-9"}, False),
        ({"dataset": "digits"}, {"dataset": "digits:0-9", "images_per_class": 5}, False),
        ({"dataset": "shapes:2", "seed": 1}, {"dataset": "digits:5-9"}, False),
    ],
)
def test_a_source_of_the_same_images_has_the_same_split_or_none_of_the_classes(there, here, is_leak, in_folder):
    there, here = (Config(image_size=8, **settings) for settings in (there, here))
    source, dataset = load_as(there), load_as(here)
    run = Run("a", "output", "weights")
    run.output.mkdir(parents=True)
    run.write_json("config.json", asdict(there))
    run.write_json("classes.json", [{"id": name, "name": name} for name in source.class_names])
    unseen = {image.tobytes() for split in (dataset.val, dataset.test) for image in split.read()}
    assert is_leak == any(image.tobytes() in unseen for image in source.train.read())
    with pytest.raises(UserError, match="learned from images that are val or test") if is_leak else nullcontext():
        check_source(replace(here, init_from="a"), dataset)


def test_a_damaged_checkpoint_can_not_be_averaged(source, tmp_path):
    folder, _ = source
    shutil.copytree(folder / "weights/a", tmp_path / "a")
    newest = max((tmp_path / "a").glob("epoch-*"))
    (newest / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"can't be averaged: model\.safetensors is not what was written"):
        average_checkpoints(Run("a", folder / "output", tmp_path), None, None)


def test_a_head_of_other_classes_is_new(source, tmp_path):
    folder, config = source
    write_images(tmp_path / "train", ("dark", "grey", "white"), 20)
    config = replace(config, dataset=f"folder:{tmp_path}", data_dir=str(tmp_path / "data"), init_from="a")
    dataset = load_as(config)
    model = build(config, dataset)
    fresh = {v.path: v.numpy().copy() for v in model.variables}
    take_weights(model, config, dataset.class_names)
    weights = best_weights(Run.at(folder / "output/a"))
    for variable in model.variables:
        wanted = fresh if variable.path.startswith("classifier/") else weights
        assert np.array_equal(variable.numpy(), wanted[variable.path]), variable.path


def test_what_stochastic_depth_leaves_out_is_the_seeds_not_the_sources(source, tmp_path, capsys):
    _, config = source
    config = replace(config, stochastic_depth=0.5, init_from=str(tmp_path / "w.safetensors"))
    dataset = load_as(config)
    learned = build(config, dataset)
    save_file({variable.path: np.array(variable) for variable in learned.variables}, config.init_from)
    model = build(replace(config, seed=1), dataset)
    addresses = {v.path: int(v) for v in model.variables if v.name == "address"}
    take_weights(model, config, dataset.class_names)
    theirs = {variable.path: np.array(variable) for variable in learned.variables}
    for variable in model.variables:
        value = addresses.get(variable.path, theirs[variable.path])
        assert np.array_equal(variable, value), variable.path
    assert addresses and all(theirs[path] != address for path, address in addresses.items())
    assert re.search(r"begun anew: \S+/address,", capsys.readouterr().out)


def test_weights_from_a_file_go_by_path_and_shape_and_nothing_at_all_is_an_error(source, tmp_path, capsys):
    _, config = source
    dataset = load_as(config)
    model = build(config, dataset)
    kernel = model.variables[0]
    file = tmp_path / "w.safetensors"
    save_file({kernel.path: np.full(kernel.shape, 7, "float32"), "classifier/bias": np.zeros(99, "float32")}, file)
    take_weights(model, replace(config, init_from=str(file)), dataset.class_names)
    assert np.all(kernel.numpy() == 7)
    assert "1 tensors taken" in capsys.readouterr().out
    save_file({"classifier/bias": np.zeros(99, "float32")}, file)
    with pytest.raises(UserError, match="no kernel of xresnet20"):
        take_weights(model, replace(config, init_from=str(file)), dataset.class_names)
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match="can't be read"):
        take_weights(model, replace(config, init_from=str(file)), dataset.class_names)
    with pytest.raises(UserError, match="did you mean 'a'"):
        take_weights(model, replace(config, init_from="ab"), dataset.class_names)
    with pytest.raises(UserError, match="within 1 to 3"):
        freeze(model, "stages:2-4")


def test_a_learning_rate_is_found_and_no_run_is_left(image_folder, tmp_path):
    process = train(tmp_path, image_folder, "--n", "1", "--find-lr", "--run", "r")
    assert process.returncode == 0, process.stderr
    rate = float(process.stdout.split("--init-lr ")[1].split()[0])
    assert 1e-4 < rate < 1 and (tmp_path / "output/find-lr/r.png").stat().st_size > 5000
    assert not (tmp_path / "output/r").exists()


def test_a_rate_is_sought_for_the_weights_that_a_run_starts_from(source, monkeypatch):
    """Also where a run of this name has trained: it is not taken up."""
    folder, config = source
    started = {}

    def look(config, run, dataset, model):
        started.update({variable.path: variable.numpy() for variable in model.variables})
        raise RuntimeError("seen")

    monkeypatch.setattr(experiment, "find_rate", look)
    with pytest.raises(RuntimeError, match="seen"):
        experiment.find_learning_rate(replace(config, run="a", init_from="a"))
    for path, value in best_weights(Run.at(folder / "output/a")).items():
        assert np.array_equal(started[path], value), path


def test_views_and_averages_stand_beside_the_plain_figure(source):
    folder, config = source
    plain = (folder / "output/a/metrics.json").read_text()
    process = run_python(ROOT / "evaluate.py", "a", "--tta", "--average-checkpoints", cwd=folder)
    assert process.returncode == 0, process.stderr
    assert (folder / "output/a/metrics.json").read_text() == plain
    for kind in ("tta", "average"):
        assert set(json.loads((folder / f"output/a/metrics-{kind}.json").read_text())) == {"val", "test", "what"}

    dataset = load_as(config)
    model = build(config, dataset)
    images = Batches(dataset, dataset.val, 50)[0][0]
    logits = predict(model, Batches(dataset, dataset.val, 50))
    assert predict_views(model, dataset, dataset.val).argmax(1).shape == logits.argmax(1).shape
    padded = torch.nn.functional.pad(images.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="reflect").permute(0, 2, 3, 1)
    views = [padded[:, 1 + d : 9 + d, 1 + d : 9 + d] for d in (0, -1, 1)]
    views += [view.flip(2) for view in views]
    expected = np.mean([torch.softmax(model(view), 1).detach().numpy() for view in views], axis=0)
    np.testing.assert_allclose(np.exp(predict_views(model, dataset, dataset.val)), expected, rtol=1e-4, atol=1e-6)


def test_an_average_of_checkpoints_has_the_statistics_of_its_own_network(source):
    folder, config = source
    dataset = load_as(config)
    model = build(config, dataset)
    batches = Batches(dataset, dataset.train, 27)
    paths = sorted((folder / "weights/a").glob("epoch-*"))
    assert average_checkpoints(Run("a", folder / "output", folder / "weights"), model, batches) == len(paths) == 2
    kernels = [load_file(path / "model.safetensors")["stem_conv/kernel"] for path in paths]
    np.testing.assert_allclose(model.get_layer("stem_conv").kernel.numpy(), np.mean(kernels, axis=0), rtol=1e-5, atol=1e-7)
    norm = model.get_layer("stage1_block1").norms[0]
    inputs = keras.Model(model.input, model.get_layer("stage1_block1").input)
    means = [inputs(batches[i][0]).mean((0, 1, 2)).detach().numpy() for i in range(len(batches))]
    np.testing.assert_allclose(norm.moving_mean.numpy(), np.mean(means, axis=0), rtol=1e-4, atol=1e-5)


def test_statistics_of_an_average_are_those_of_batches_of_several_classes(source, monkeypatch):
    """Whatever the order in which the images are stored."""
    folder, _ = source
    seen = []

    def average(run, model, batches):
        seen.extend(keras.ops.convert_to_numpy(batches[i][1]).argmax(1) for i in range(len(batches)))
        return 2

    monkeypatch.setattr(experiment, "average_checkpoints", average)
    monkeypatch.setattr(experiment, "_measure_beside", lambda *_: None)
    monkeypatch.setattr(experiment, "load_trained", lambda run: (sorted_by_class(load_as(run.read_config())), None, None))
    experiment.evaluate_average(Run("a", folder / "output", folder / "weights"))
    labels = np.concatenate(seen)
    assert len(set(seen[0])) > 1 and not np.array_equal(labels, np.sort(labels))
    assert np.array_equal(np.sort(labels), np.sort(load_as(source[1]).train.labels))


def sorted_by_class(dataset):
    return replace(dataset, train=dataset.train.select(np.argsort(dataset.train.labels, kind="stable")))


@pytest.mark.parametrize(
    ("name", "kind", "blocks"), [("resnet18-224", "basic_block", "2,2,2,2"), ("resnet50-224", "bottleneck_block", "3,4,6,3")]
)
def test_keras_hubs_weights_give_its_features(name, kind, blocks, tmp_path):
    script = ROOT / "tests" / "keras_hub_features.py"
    process = run_python(script, name, kind, "64,128,256,512", blocks, tmp_path / "preset")
    assert process.returncode == 0, process.stderr
    assert "keras-hub gives no ResNet 'nowhere'" in process.stdout

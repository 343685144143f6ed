"""What a run was made of is found from the run: named by its path from anywhere, moved, copied, of an earlier version."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import write_images

import dispatcher
import evaluate
import export
import predict
from foundation.errors import UserError
from foundation.flags import read_config
from lab.exporting.runtimes import RUNTIMES
from lab.runs.run import Run
from lab.runs.same_settings import settings_of
from lab.training.experiment import load_trained, train
from lab.training.transfer import take_weights
from models.architecture import resnet_cifar

FLAGS = "--model tiny --dataset folder:pictures --run r --epochs 1 --warmup-epochs 0 --batch-size 8 --max-shift 1 --data-dir data"


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """A network of one block of eight channels. Fewer channels than eight make oneDNN's kernels slow, not quick."""
    monkeypatch.setitem(dispatcher.MODELS, "tiny", resnet_cifar(1, filters=(8,), stem_filters=8))


def start(folder, monkeypatch, *flags, seed=0):
    """Trains run r with its own pictures in a project's folder."""
    monkeypatch.chdir(folder)
    if not Path("pictures").exists():
        write_images(folder / "pictures/train", ("dark", "light"), 12, size=8, seed=seed)
    assert train(read_config([*FLAGS.split(), *flags])) == 0


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """Two projects with a run of the same name and other weights, pictures and results."""
    root = tmp_path_factory.mktemp("projects")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dispatcher.MODELS, "tiny", resnet_cifar(1, filters=(8,), stem_filters=8))
        for name, seed in (("a", 1), ("b", 2)):
            (root / name).mkdir()
            start(root / name, patch, "--seed", str(seed), seed=seed)
    return root


@pytest.fixture
def two(projects, tmp_path):
    """Copies of them, for a test to change; the originals are out of sight meanwhile."""
    shutil.copytree(projects, tmp_path / "p")
    hidden = projects.rename(projects.with_name("hidden"))
    yield tmp_path / "p"
    hidden.rename(projects)


def weights_of(run):
    _, model, _ = load_trained(run)
    return [np.array(variable.numpy()) for variable in model.variables]


def are_equal(some, others):
    return all(np.array_equal(a, b) for a, b in zip(some, others, strict=True))


def call(script, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", [f"{script.__name__}.py", *map(str, arguments)])
    return script.main()


def test_a_run_named_by_its_path_has_its_own_weights_and_data_wherever_the_reader_stands(two, monkeypatch, capsys):
    monkeypatch.chdir(two / "a")
    own, other = weights_of(Run.find("r", "output")), None
    metrics = (two / "a/output/r/metrics.json").read_bytes()
    monkeypatch.chdir(two / "b")
    other = weights_of(Run.find("r", "output"))
    assert not are_equal(own, other)  # else this test could not fail
    assert are_equal(own, weights_of(Run.find(two / "a/output/r", "output")))
    assert are_equal(own, weights_of(Run.find("../a/output/r", "output")))
    assert are_equal(own, weights_of(Run.find("r", "../a/output")))
    call(evaluate, monkeypatch, two / "a/output/r")
    assert (two / "a/output/r/metrics.json").read_bytes() == metrics
    pictures = two / "a/pictures/train/dark"
    capsys.readouterr()
    call(predict, monkeypatch, two / "a/output/r", pictures)
    there = capsys.readouterr().out
    monkeypatch.chdir(two / "a")
    call(predict, monkeypatch, "r", pictures)
    assert capsys.readouterr().out == there


def test_an_export_from_elsewhere_holds_the_runs_own_weights_and_names_the_run(two, monkeypatch):
    from safetensors import safe_open

    def run_here(module, name, target, images, logits, backend="torch"):
        np.save(logits, RUNTIMES[name](target, np.load(images)))

    monkeypatch.setattr("lab.exporting.export.run_module", run_here)  # a fresh process would take as long as all other tests here
    monkeypatch.chdir(two / "b")
    call(export, monkeypatch, two / "a/output/r", "--formats", "safetensors,keras")
    run = Run.find(two / "a/output/r", "output")
    with safe_open(two / "a/output/r/export/weights.safetensors", "numpy") as file:
        assert file.metadata()["run"] == run.id
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    with zipfile.ZipFile(two / "a/output/r/export/model.keras") as archive:
        assert json.loads(archive.read("contract.json"))["run"] == run.id
    _, model, _ = load_trained(run)
    assert all(np.array_equal(found[variable.path], variable.numpy()) for variable in model.variables)
    assert run.id in (two / "a/output/r/export/MODEL_CARD.md").read_text()
    assert str(two) not in (two / "a/output/r/export/MODEL_CARD.md").read_text()


def test_weights_taken_over_are_those_of_the_run_named_by_its_path(two, monkeypatch):
    monkeypatch.chdir(two / "a")
    own = weights_of(Run.find("r", "output"))
    monkeypatch.chdir(two / "b")
    config = read_config([*FLAGS.split(), "--run", "next", "--init-from", str(two / "a/output/r")])
    _, model, _ = load_trained(Run.find("r", "output"))
    take_weights(model, config, ("dark", "light"))
    assert are_equal(own, [variable.numpy() for variable in model.variables])


def test_an_id_is_in_the_record_and_in_every_checkpoint_and_no_two_runs_share_one(two):
    ids = {}
    for name in ("a", "b"):
        run = Run.at(two / name / "output/r")
        ids[name] = run.id
        states = [json.loads(path.read_bytes()) for path in (two / name / "weights/r").glob("epoch-*/state.json")]
        assert states and all(state["run"] == run.id for state in states)
    assert len(ids["a"]) == 32 and ids["a"] != ids["b"]


def test_a_moved_project_works_and_goes_on(two, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (two / "a").rename(tmp_path / "elsewhere/moved")
    moved, before = tmp_path / "elsewhere/moved", (two / "b")
    monkeypatch.chdir(before)
    run = Run.find(moved / "output/r", "output")
    assert run.weights == moved / "weights/r" and run.read_config().dataset == f"folder:{moved / 'pictures'}"
    call(evaluate, monkeypatch, moved / "output/r")
    run_id = run.id
    monkeypatch.chdir(moved)
    # the same command finds its own run, and there is nothing left to do
    assert train(read_config([*FLAGS.split(), "--seed", "1"])) == 0
    assert Run.find("r", "output").id == run_id


def test_a_copy_is_read_from_the_copy_and_the_original_is_left_alone(two, monkeypatch, tmp_path):
    shutil.copytree(two / "a", tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    run = Run.find(tmp_path / "copy/output/r", "output")
    assert run.weights == tmp_path / "copy/weights/r"
    assert run.read_config().data_dir == str(tmp_path / "copy/data")


def test_a_run_copied_without_its_weights_finds_them_where_they_were(two, monkeypatch, tmp_path):
    monkeypatch.chdir(two / "a")
    assert train(read_config([*FLAGS.split(), "--seed", "1"])) == 0  # which records where it lies now
    shutil.copytree(two / "a/output/r", tmp_path / "kept/r")
    monkeypatch.chdir(two / "b")
    assert Run.find(tmp_path / "kept/r", "output").weights == two / "a/weights/r"
    assert Run.find(tmp_path / "kept/r", "output").read_config().dataset == f"folder:{two / 'a/pictures'}"


def test_weights_that_are_not_the_runs_are_one_line(two, monkeypatch):
    shutil.rmtree(two / "a/weights")
    shutil.copytree(two / "b/weights", two / "a/weights")
    monkeypatch.chdir(two / "a")
    with pytest.raises(UserError, match="holds weights of another run than") as caught:
        load_trained(Run.find("r", "output"))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="holds weights of another run than"):
        load_trained(Run.find("r", "output", two / "b/weights"))
    with pytest.raises(UserError, match="holds weights of another run than"):
        train(read_config([*FLAGS.split(), "--seed", "1"]))


def test_weights_that_are_gone_are_said_to_be(two, monkeypatch):
    shutil.rmtree(two / "a/weights")
    monkeypatch.chdir(two / "b")
    with pytest.raises(UserError, match=f"no checkpoint of run 'r' in {two / 'a/weights/r'}: --weights-dir says where"):
        load_trained(Run.find(two / "a/output/r", "output"))


def test_a_new_run_does_not_take_up_the_checkpoints_of_another(two, monkeypatch):
    monkeypatch.chdir(two / "b")
    with pytest.raises(UserError, match="holds checkpoints of a run whose record is not in"):
        train(read_config([*FLAGS.split(), "--output-dir", "other"]))
    assert not Path("other").exists()


def test_a_run_that_goes_on_with_other_folders_for_weights_says_where_its_own_lie(two, monkeypatch):
    monkeypatch.chdir(two / "a")
    with pytest.raises(UserError, match=f"lie in {two / 'a/weights/r'}: give it --weights-dir {two / 'a/weights'}"):
        train(read_config([*FLAGS.split(), "--seed", "1", "--weights-dir", "others"]))


def test_one_folder_written_in_two_ways_is_one_data_set(two, monkeypatch):
    monkeypatch.chdir(two / "a")
    here = read_config(FLAGS.split())
    monkeypatch.chdir(two)
    there = read_config([*FLAGS.split(), "--dataset", "folder:a/../a/pictures/", "--output-dir", "a/output"])
    elsewhere = settings_of(read_config(FLAGS.split()))
    monkeypatch.chdir(two / "a")
    same = settings_of(here)
    monkeypatch.chdir(two)
    assert settings_of(there) == same != elsewhere


def test_a_damaged_record_is_one_line(two):
    (two / "a/output/r/identity.json").write_text("[]")
    with pytest.raises(UserError, match=r"identity.json is damaged"):
        Run.at(two / "a/output/r")

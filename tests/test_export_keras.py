"""A .keras file of stock layers gives our logits with Keras alone, on every backend, and its weights come back as data."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from conftest import run_python
from trained_networks import NETWORKS, trained

from foundation.errors import RunFailure, UserError
from foundation.flags import read_config
from lab.exporting.formats import FORMATS, write_keras
from lab.exporting.network import Contract, from_pixels
from lab.exporting.stock_network import stock_network
from lab.training.stock_weights import read_stock_weights
from lab.training.transfer import take_weights
from models.norms import NORMS, InstanceNorm

SIZE = 18  # halved twice, it is odd: the last row and column have windows of their own
CONTRACT = Contract("resnet20", {}, SIZE, list("abcdefg"), [0.5, 0.4, 0.3], [0.2, 0.3, 0.4])
IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), "uint8")
# Small networks that between them have every stock layer and composition, for backends that compile each of them.
SMALL = {"blocks": 1, "filters": (16, 32), "stem_filters": 16}
OTHERS = {
    "pooling": ("resnet50d-224", SMALL | {"attention": "se", "groups": 4, "activation": "mish"}),
    "gates": ("resnet6n2", SMALL | {"norm": "evonorm-s0", "attention": "cbam", "shortcut": "zero"}),
}


def allowed(logits):
    return FORMATS["keras"].tolerance * max(1.0, float(np.abs(logits).max()))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Returns a function from a name to (its network, its file, its logits); what it wrote stays for the next test."""
    folder, found = tmp_path_factory.mktemp("stock"), {}

    def write(name):
        if name not in found:
            family, options = (OTHERS | NETWORKS)[name]
            network, path = trained(family, SIZE, **options), folder / f"{len(found)}.keras"
            model = from_pixels(network, CONTRACT)
            write_keras(model, CONTRACT, path)
            found[name] = network, path, keras.ops.convert_to_numpy(model(IMAGES, training=False))
        return found[name]

    return write


@pytest.mark.parametrize("name", NETWORKS)
def test_stock_layers_alone_give_our_logits_and_hold_our_weights(name, written):
    network, path, logits = written(name)
    loaded = keras.saving.load_model(path)
    assert {type(layer).__module__.partition(".")[0] for layer in loaded.layers} == {"keras"}
    assert np.abs(keras.ops.convert_to_numpy(loaded(IMAGES, training=False)) - logits).max() <= allowed(logits)
    weights, names = read_stock_weights(path, [variable.path for variable in network.variables])
    assert names == tuple("abcdefg")
    for variable in network.variables:
        if variable.name != "address":
            # a gate is a quotient of float32 numbers, what it divides their sum: three roundings
            exact = variable.name not in ("gate", "gamma") or "batch-instance" not in name
            own = keras.ops.convert_to_numpy(variable)
            np.testing.assert_allclose(weights.pop(variable.path), own, rtol=0 if exact else 4e-7, err_msg=variable.path)


ELSEWHERE = """
import sys
import keras, numpy as np
images = np.load(sys.argv[1])
for path in sys.argv[2:]:
    np.save(path + ".npy", keras.ops.convert_to_numpy(keras.saving.load_model(path)(images, training=False)))
assert not {"models", "foundation", "lab", "dispatcher"} & sys.modules.keys()
"""


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_another_backend_without_this_project_computes_the_same(backend, written, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    paths = [written(name)[1] for name in OTHERS]
    process = run_python("-c", ELSEWHERE, tmp_path / "images.npy", *paths, backend=backend, cwd=tmp_path, is_new=True)
    assert process.returncode == 0, process.stderr
    for name in OTHERS:
        _, path, logits = written(name)
        assert np.abs(np.load(f"{path}.npy") - logits).max() <= allowed(logits), name


def test_a_layer_that_keras_has_not_is_named_in_one_line(monkeypatch):
    class Odd(InstanceNorm):
        pass

    monkeypatch.setitem(NORMS, "instance", Odd)
    with pytest.raises(RunFailure, match=r"layer 'stem_norm' \(Odd\) can't be said in Keras' own layers"):
        stock_network(trained("resnet6n2", blocks=1, norm="instance"))


def test_a_run_starts_from_such_a_file_and_takes_the_head_where_classes_are_the_same(written, capsys):
    network, path, _ = written("basic blocks")
    config = read_config(["--init-from", str(path)])
    for names, is_taken in ((tuple("abcdefg"), True), (tuple("abcdefh"), False)):
        family, options = NETWORKS["basic blocks"]
        other = trained(family, SIZE, **options)
        for variable in other.variables:
            variable.assign(np.zeros(variable.shape))
        take_weights(other, config, names)
        assert ("begun anew: none; left over: none" in capsys.readouterr().out) == is_taken
        for own, source in zip(other.variables, network.variables, strict=True):
            assert np.array_equal(own.numpy(), source.numpy()) == (is_taken or not own.path.startswith("classifier"))


def rewritten(source, target, **members):
    """A copy of an archive with other content for some of its files."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.replace(".", "_"), old.read(name)))
    return target


def test_what_is_no_plain_array_is_refused_in_one_line(written, tmp_path):
    _, path, _ = written("basic blocks")
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["0"] = np.ones(3)
    with zipfile.ZipFile(path) as archive:
        weights = archive.read("model.weights.h5")

    def changed(change):
        content = io.BytesIO(weights)
        with h5py.File(content, "r+") as file:
            change(file["layers/dense/vars"])
        return content.getvalue()

    def links_elsewhere(group):
        del group["1"]
        group["1"] = h5py.ExternalLink(str(secret), "0")

    def lies_elsewhere(group):
        del group["1"]
        group.create_dataset("1", (7,), "f4", external=[(str(secret), 0, 28)])

    def is_not_finite(group):
        group["1"][0] = np.nan

    cases = [
        ({"model_weights_h5": b"no HDF5"}, "can't be read"),
        ({"config_json": b"{}"}, "is no .keras file"),
        ({"contract_json": json.dumps({"class_names": "[1]"}).encode()}, "class_names should be names"),
        *(
            ({"model_weights_h5": changed(change)}, "classifier/bias")
            for change in (links_elsewhere, lies_elsewhere, is_not_finite)
        ),
    ]
    for number, (members, words) in enumerate(cases):
        file = rewritten(path, tmp_path / f"{number}.keras", **members)
        with pytest.raises(UserError, match=words) as caught:
            read_stock_weights(file, [])
        assert "\n" not in str(caught.value)


def test_a_layer_with_code_in_it_is_a_name_and_no_more(written, tmp_path):
    _, path, _ = written("basic blocks")
    with zipfile.ZipFile(path) as archive:
        code = json.loads(archive.read("config.json"))
    code["config"]["layers"].append({"class_name": "Lambda", "config": {"name": "bomb", "function": {"code": "AAAA"}}})
    assert read_stock_weights(rewritten(path, tmp_path / "code.keras", config_json=json.dumps(code)), [])[0]

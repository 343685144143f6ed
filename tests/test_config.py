"""Settings: defaults that hold, faults that are told all at once, flags for every field."""

from dataclasses import asdict, fields, replace
from typing import get_args

import pytest
from conftest import ROOT, run_python
from hypothesis import given
from hypothesis import strategies as st

import dispatcher
from callbacks.schedules import SCHEDULES
from foundation import config_file
from foundation.checks import check, fault_of
from foundation.errors import UserError
from foundation.flags import read_config
from foundation.presets import PRESETS
from foundation.settings import SETTINGS, Config
from lab.optimizers.rules import RULES
from models import torch_ops
from models.architecture import PARTS
from models.attention import ATTENTIONS
from models.layers import ACTIVATIONS
from models.norms import NORMS


def test_the_defaults_are_valid():
    check(Config())


# The names that a setting allows: those of the table behind it and some besides.
TABLES = {
    "preset": PRESETS,
    "norm": ("default", *NORMS),
    "activation": ("default", *ACTIVATIONS),
    "stem": ("default", *PARTS["stem"]),
    "attention": ("default", *ATTENTIONS),
    "shortcut": ("default", *PARTS["shortcut"]),
    "optimizer": RULES,
    "schedule": SCHEDULES,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_setting_allows_what_its_table_holds(name):
    assert sorted(allowed(name)) == sorted(TABLES[name])


def test_augment_allows_every_policy():
    process = run_python("-c", "from datasets.policies import POLICIES; print(*POLICIES)")  # it imports TensorFlow, 0.4 GB
    assert sorted(allowed("augment")) == sorted(["none", "standard", *process.stdout.split()])


def allowed(name):
    return get_args(SETTINGS[name].type)


def test_activations_on_torch_are_those_of_the_other_backends():
    assert tuple(torch_ops.ACTIVATIONS) == ACTIVATIONS


def test_all_faults_are_told_at_once():
    with pytest.raises(UserError, match=r"epochs is 0.*init_lr is -1") as caught:
        check(replace(Config(), epochs=0, init_lr=-1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"epochs": "30"}, "epochs is '30', allowed: a whole number"),
        ({"nesterov": 1}, "nesterov is 1, allowed: True or False"),
        ({"init_lr": float("nan")}, "init_lr"),
        ({"mixup_alpha": float("inf")}, "mixup_alpha"),
        ({"run": "../../x"}, "letters, digits"),
        ({"run": ".."}, "letters, digits"),
        ({"optimizer": "adam", "nesterov": True}, "needs optimizer 'sgd'"),
        ({"start_epoch": 99}, "below epochs"),
        ({"batch_size": True}, "batch_size"),
        ({"dataset": ""}, "not empty"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change, words):
    with pytest.raises(UserError, match=words):
        check(replace(Config(), **change))


anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers()))


@given(name=st.sampled_from([field.name for field in fields(Config)]), value=anything)
def test_no_value_of_any_kind_makes_a_check_fail(name, value):
    try:
        check(replace(Config(), **{name: value}))
    except UserError as error:
        assert name in str(error) and "\n" not in str(error).replace(repr(value), "")


@given(st.text())
def test_a_run_name_that_passes_stays_inside_its_folder(name):
    if fault_of("run", name) is None:
        assert "/" not in name and "\\" not in name and name not in (".", "..")


def test_flags_win_over_the_file():
    settings = read_config(["--epochs", "7", "--init-lr=0.5", "--nesterov", "--schedule", "resnet", "--start-epoch", "3"])
    assert (settings.epochs, settings.init_lr, settings.nesterov, settings.schedule) == (7, 0.5, True, "resnet")
    assert settings.start_epoch == 3
    assert settings.model == Config().model


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_wins_over_the_file_and_a_flag_over_both(name):
    settings = read_config(["--preset", name])
    assert asdict(settings) == asdict(Config()) | config_file.read_values() | PRESETS[name] | {"preset": name}
    assert read_config(["--epochs", "77", "--preset", name]).epochs == 77
    check(settings)


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """`edited(text)` makes config.py hold this text."""
    monkeypatch.setenv("RESLAB_CONFIG", str(tmp_path / "config.py"))
    return (tmp_path / "config.py").write_text


def test_a_preset_named_in_the_file_counts(edited):
    edited('preset = "speedrun"\nepochs = 3')
    assert asdict(read_config([])) == asdict(Config()) | PRESETS["speedrun"] | {"preset": "speedrun"}


def test_a_flag_takes_back_an_epoch_that_the_file_goes_back_to(edited):
    edited("start_epoch = 3")
    assert read_config([]).start_epoch == 3 and read_config(["--start-epoch", "None"]).start_epoch is None


def test_the_file_may_compute_and_leave_out_what_it_does_not_change(edited):
    edited("import math\n_share = 0.25\nval_fraction: float = _share / 2\nepochs = math.floor(7.9)")
    assert asdict(read_config([])) == asdict(Config()) | {"val_fraction": 0.125, "epochs": 7}


def test_the_file_may_assign_in_any_way(edited):
    edited("epochs, n = 7, 2\nif epochs > 5:\n    init_lr = 0.3\nn += 1\nschedule: str\n")
    assert asdict(read_config([])) == asdict(Config()) | {"epochs": 7, "n": 3, "init_lr": 0.3}
    edited("if True:\n    epochs = 'x'")
    with pytest.raises(UserError, match=r"config\.py: epochs is 'x', allowed: a whole number"):
        read_config([])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read: No such file"),
        ("# f\u00fcr".encode("latin-1"), "is no text in UTF-8"),
        (b"class Config:\n    epochs: int = 77\n", "holds a class: settings are plain assignments"),
    ],
)
def test_a_file_that_is_none_is_one_line(content, words, monkeypatch, tmp_path):
    monkeypatch.setenv("RESLAB_CONFIG", str(tmp_path / "config.py"))
    if content is not None:
        (tmp_path / "config.py").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_config([])


def test_the_file_is_written_anew_with_the_values_that_it_holds(edited, capsys):
    edited("# mine\nepochs = 4\nrun = 'a\"b'\ninit_from = ''")
    with pytest.raises(UserError, match=r"config\.py, line 3: run is"):
        config_file.main()
    edited("# mine\nepochs = 4\noutput_dir = 'C:\\\\runs'")
    config_file.main()
    assert asdict(read_config([])) == asdict(Config()) | {"epochs": 4, "output_dir": "C:\\runs"}
    text = config_file.path().read_text()
    assert all(each.sentence.split()[0] in text for each in SETTINGS.values()) and max(map(len, text.splitlines())) <= 130
    config_file.main()
    assert config_file.path().read_text() == text
    assert [line.rpartition("config.py ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "is written anew, with the values that it held",
        "is up to date",
    ]


def test_an_unknown_preset_is_one_line():
    with pytest.raises(UserError, match="unknown value 'speedrum'; did you mean 'speedrun'"):
        read_config(["--preset", "speedrum"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epoch", "3"], "unknown flag '--epoch'; did you mean '--epochs'"),
        (["--epochs", "many"], "epochs is 'many', allowed: a whole number"),
        (["--epochs"], "--epochs needs a value"),
        (["--schedule", "cosin"], "did you mean 'cosine'"),
        (["stray"], "'stray' belongs to no flag"),
        (["--start-epoch", "x"], "start_epoch is 'x', allowed: a whole number or None"),
        (["--start-epoch", "None", "--epochs", "many"], "^epochs is 'many', allowed: a whole number"),
    ],
)
def test_a_wrong_flag_is_one_line_with_the_nearest_match(arguments, words):
    with pytest.raises(UserError, match=words):
        read_config(arguments)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_no_command_line_gives_a_traceback(arguments):
    if {"-h", "--help"} & set(arguments):
        return
    try:
        read_config(arguments)
    except UserError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "xresnet21"], "unknown model 'xresnet21'; did you mean 'xresnet20'?"),
        (["--dataset", "cifar11"], "unknown data set 'cifar11'; did you mean 'cifar10'?"),
        (["--dataset", "folder:"], "folder:PATH"),
        (["--dataset", "folder:/nowhere/at/all"], "no folder /nowhere/at/all"),
        (["--epochs", "0"], "epochs is 0, allowed: from 1"),
        (["--output-dir", "~nosuchuser/x"], "this machine has no such user"),
        (["--dataset", "folder:~nosuchuser/x"], "'~nosuchuser/x': this machine has no such user"),
    ],
)
def test_a_mistake_ends_train_with_one_line_code_2_and_nothing_written(arguments, words, tmp_path):
    process = run_python(ROOT / "train.py", *arguments, cwd=tmp_path)
    assert process.returncode == 2
    assert words in process.stderr
    assert process.stderr.count("\n") == 1
    assert process.stdout == ""
    assert list(tmp_path.iterdir()) == []


NEEDS_NO_KERAS = """
import sys
sys.argv = ["train.py", "--dataset", sys.argv[1]]
import train
try:
    train.main()
finally:
    assert "keras" not in sys.modules and "torch" not in sys.modules
"""


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_that_can_not_be_trained_on_is_told_before_keras_is_imported(folder, tmp_path):
    """The import takes seconds, the look at the folder none."""
    (tmp_path / "empty/train").mkdir(parents=True)
    process = run_python("-c", NEEDS_NO_KERAS, f"folder:{tmp_path / folder}", is_new=True)
    last = process.stderr.splitlines()[-1]
    assert last.startswith("foundation.errors.UserError: ") and str(tmp_path / folder) in last, process.stderr


@pytest.mark.parametrize("command", ["evaluate.py r", "study.py normalization --report", "dashboard.py"])
def test_the_home_of_nobody_is_one_line_in_every_script(command, tmp_path):
    script, *arguments = command.split()
    process = run_python(ROOT / script, *arguments, "--output-dir", "~nosuchuser/x", cwd=tmp_path)
    assert process.returncode == 2
    assert process.stderr == "error: '~nosuchuser/x': this machine has no such user\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("slip", "words"),
    [
        ("epochs = 3O", "config.py, line 2: invalid decimal literal"),
        ('epochs = "thirty"', "config.py, line 2: epochs is 'thirty', allowed: a whole number"),
        ("epoch = 30", "config.py, line 2: unknown setting 'epoch'; did you mean 'epochs'?"),
        ("lr = 0.1", "config.py, line 2: unknown setting 'lr'; did you mean 'init_lr'?"),
        ("epochs = undefined", "config.py, line 2: name 'undefined' is not defined"),
        ('epochs = int("x")', "config.py, line 2: invalid literal for int() with base 10: 'x'"),
        ('schedule = "cosin"', "config.py, line 2: schedule: unknown value 'cosin'; did you mean 'cosine'?"),
    ],
)
def test_a_slip_in_the_edited_file_is_one_line(slip, words, edited, tmp_path):
    edited(f"seed = 1\n{slip}\n")
    process = run_python(ROOT / "train.py", cwd=tmp_path)
    assert (process.returncode, process.stderr.count("\n")) == (2, 1)
    assert process.stderr.startswith(f"error: {words}")


def test_who_does_not_train_reads_no_config(edited, tmp_path):
    edited("epochs = 3O")
    process = run_python(ROOT / "evaluate.py", "r", cwd=tmp_path)
    assert process.returncode == 2 and "unknown run 'r'" in process.stderr


@pytest.mark.parametrize(
    "command", ["train.py", "dispatcher.py", "evaluate.py r", "explain.py r", "visualize.py all r", "dashboard.py"]
)
def test_an_unknown_backend_is_one_line(command, tmp_path):
    script, *arguments = command.split()
    process = run_python(ROOT / script, *arguments, backend="pytorch", cwd=tmp_path)
    assert process.returncode == 2 and process.stderr.count("\n") == 1
    assert "unknown KERAS_BACKEND 'pytorch'; did you mean 'torch'?" in process.stderr


def test_what_is_not_set_is_the_models_own(monkeypatch):
    own = replace(dispatcher.MODELS["resnet20"], norm_groups=4, stochastic_depth=0.5)
    monkeypatch.setitem(dispatcher.MODELS, "resnet20", own)

    def built(*flags):
        options = dispatcher.architecture_options(read_config(["--model", "resnet20", *flags]))
        return dispatcher.architecture_of("resnet20", **options)

    assert built() == own
    assert built("--norm-groups", "8", "--stochastic-depth", "0") == replace(own, norm_groups=8, stochastic_depth=0.0)
    with pytest.raises(UserError, match=r"stochastic_depth is 1\.0, allowed: from 0 to below 1"):
        read_config(["--stochastic-depth", "1"])


@pytest.mark.parametrize(
    ("flag", "allowed"),
    [("--classes 0", "from 1 to 100,000"), ("--image-size -5", "0 or from 8 to 1024"), ("--n -1", "from 0 to 1000")],
)
def test_a_network_that_nobody_could_build_is_one_line(flag, allowed, monkeypatch):
    monkeypatch.setattr("sys.argv", ["dispatcher.py", "resnet20", *flag.split()])
    with pytest.raises(UserError, match=allowed):
        dispatcher.main()

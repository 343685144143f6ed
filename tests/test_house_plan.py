"""The house plan: who may import whom, how long a file may be, what it may not be called."""

import ast
import functools
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Floor by floor: a room imports only from floors below its own, or from itself.
FLOORS = {
    "foundation": 0,
    "models": 1,
    "datasets": 1,
    "dispatcher": 2,
    "callbacks": 2,
    "lab.runs": 3,
    "lab.optimizers": 3,
    "lab.training": 3.1,
    "lab.engines": 3.1,
    "lab.reports": 4,
    "lab.exporting": 4,
    "lab.explanations": 4.1,  # its numbers and pages are made as those of reports are
    "lab.auditing": 4.1,  # its page is made of the same blocks
    "lab.benchmarks": 4.1,  # what finished runs cost is a report's table
    "lab.studies": 4.2,  # a study looks at its results while its runs are trained
    "lab.trust": 4.2,  # it measures cost as benchmarks do, and draws as reports and explanations do
    "lab.manual": 4.3,  # it lists what other rooms declare
    "lab.panels": 4.4,
    "lab.lessons": 4.4,
}
SCRIPTS = ("train", "evaluate", "study", "visualize", "explain", "benchmark", "export", "predict", "dashboard", "audit")
FLOORS |= dict.fromkeys(SCRIPTS, 5)
# What the lower floors may import besides the standard library and this project.
OUTSIDE = {
    "foundation": {"keras", "numpy", "torch", "jax", "matplotlib"},
    "models": {"keras", "numpy", "torch", "triton", "jax", "tensorflow"},
    "datasets": {
        "torch",
        "keras",
        "numpy",
        "PIL",
        "filelock",
        "sklearn",
        "scipy",
        "tensorflow_datasets",
        "keras_cv",
        "tensorflow",
    },
    "dispatcher": set(),
}


def sources():
    folders = [ROOT / room.replace(".", "/") for room in FLOORS if (ROOT / room.replace(".", "/")).is_dir()]
    return sorted(path for folder in (ROOT, ROOT / "lab", *folders) for path in folder.glob("*.py"))


SOURCES = sources()
NAMES = [str(path.relative_to(ROOT)) for path in SOURCES]


def room_of(module):
    """The room that a module of this project stands in, or None: "lab.runs" of "lab.runs.places"."""
    parts = module.split(".")
    return next((room for room in (".".join(parts[:2]), parts[0]) if room in FLOORS), None)


def room(path):
    return room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


@functools.cache
def imports(path):
    """The module of every import in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_nothing_imports_upward(path):
    own = room(path)
    for module in imports(path):
        other = room_of(module)
        if own and other and other != own:
            assert FLOORS[other] < FLOORS[own], f"{path.name} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_the_lower_floors_import_only_what_they_may(path):
    allowed = OUTSIDE.get(room(path))
    if allowed is not None:
        found = {module.partition(".")[0] for module in imports(path) if not room_of(module)}
        assert found - sys.stdlib_module_names <= allowed


def test_every_room_is_on_a_floor():
    rooms = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("*/**/__init__.py") if ".venv" not in path.parts}
    assert {room for room in rooms if not room.startswith("tests")} == FLOORS.keys() - {*SCRIPTS, "dispatcher"} | {"lab"}
    assert {path.stem for path in ROOT.glob("*.py")} == {*SCRIPTS, "dispatcher", "config"}


@pytest.mark.parametrize("path", [path for path in SOURCES if room(path) in ("models", "datasets")], ids=str)
def test_networks_and_data_know_no_settings(path):
    assert not {"foundation.settings", "foundation.checks"} & {module.rpartition(".")[0] for module in imports(path)}


def test_libraries_of_backends_are_imported_in_few_files_of_models():
    importing = [path.name for path in SOURCES if room(path) == "models" and "torch" in set(imports(path))]
    assert importing == [
        "torch_batch_norm.py",
        "torch_convolution.py",
        "torch_cpu.py",
        "torch_norms.py",
        "torch_ops.py",
    ]
    importing = [path.name for path in SOURCES if room(path) == "models" and "tensorflow" in set(imports(path))]
    assert importing == ["tensorflow_ops.py"]
    importing = [path.name for path in SOURCES if room(path) == "models" and "jax" in set(imports(path))]
    assert importing == ["jax_ops.py"]


# Every spelling of the backend's name that is not `foundation.backend.name()`; a script may set it, and says so by " = ".
OTHER_SPELLINGS = re.compile(
    r"""config\.backend\(|backend\.backend\(|(?:environ\.get|getenv)\(["']KERAS_BACKEND|environ\[["']KERAS_BACKEND["']\](?! = )"""
)
# A question: what is done depends on the name, which some files only record or hand on.
QUESTION = re.compile(r"""\bname\(\) (?:==|!=|in\b|not in\b)|\[backend\.name\(\)\]""")


def test_the_backend_is_asked_for_in_one_way():
    asking = [str(path.relative_to(ROOT)) for path in SOURCES if OTHER_SPELLINGS.search(path.read_text())]
    assert asking == ["foundation/backend.py"]


def test_what_is_done_depends_on_the_backend_in_one_file_of_a_room():
    asking = [path for path in SOURCES if QUESTION.search(path.read_text())]
    assert set(Counter(room(path) for path in asking).values()) == {1}, sorted(map(str, asking))


# {file: private names that it reads of objects of other libraries}. A release of Keras may change its own without a word.
PRIVATE = {
    "lab/benchmarks/tensor_memory.py": {"_value", "_cdata"},  # Keras' and torch's, in a measurement: test_costs.py tells
    "dashboard.py": {"_internal_ip", "_external_ip"},  # Streamlit's
    "foundation/command_line.py": {"_actions"},  # argparse's
}


def private_names(path):
    """Names with a single underscore that a file reads or sets on an object; functions of torch are named by its modules."""
    tree = ast.parse(path.read_text())
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) in ("self", "cls")}
    for node in attributes:
        is_of_torch = ast.unparse(node.value).partition(".")[0] == "torch"
        if (re.match("_[a-z]", node.attr) and node.attr not in own and not is_of_torch) or node.attr == "__class__":
            yield node.attr


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_no_private_name_of_a_library_is_read(path):
    inherited = {"replica_step.py": {"_count", "_gradients"}}  # of a class of ours in another file
    found = set(private_names(path)) - inherited.get(path.name, set())
    assert found == PRIVATE.get(str(path.relative_to(ROOT)), set())
    assert not [module for module in imports(path) if module.startswith("keras.src")]


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_files_are_short_and_their_names_say_something(path):
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.stem)
def test_tests_import_no_other_test(path):
    """Code that several need stands in a module that is none."""
    assert not [module for module in imports(path) if module.startswith("test_")]


# Hooks that a base class or the interpreter documents under such a name, and Keras' traversal and place of a variable's tensor.
PRIVATE_NAMES_OF_OTHERS = {"_split_generators", "_exit", "_shutdown", "_run_exitfuncs", "_flatten_layers", "_value"}


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.stem)
def test_tests_call_nothing_that_is_private(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names if alias.name.startswith("_")}
        elif isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and ast.unparse(node.value) != "self":
            found.add(node.attr)
    assert found <= PRIVATE_NAMES_OF_OTHERS

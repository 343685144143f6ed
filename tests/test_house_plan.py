"""The house plan: who may import whom, how long a file may be, what it may not be called."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    ".",
    "figures",
    "models",
    "datasets",
    "callbacks",
    "training",
    "benchmarks",
    "studies",
    "reports",
    "explanations",
    "exporting",
    "panels",
    "manual",
)
SOURCES = sorted(path for folder in ROOMS for path in (ROOT / folder).glob("*.py"))

# Floor by floor: a room imports only from floors below its own, or from itself.
FLOORS = {
    "errors": 0,
    "grammar": 0,
    "quiet_import": 0,
    "aliases": 0.1,
    "paths": 0.1,
    "files": 0.1,
    "escaping": 0.1,
    "randomness": 0,
    "keras_defaults": 0.3,
    "devices": 0.1,
    "backend": 0.2,
    "scripts": 0.25,
    "replicas": 0.3,
    "allowed": 0.3,
    "declaring": 0.4,
    "settings": 0.5,
    "presets": 0.5,
    "checks": 0.6,
    "config_file": 0.7,
    "config": 0.8,
    "figures": 1,
    "models": 1,
    "datasets": 1,
    "dispatcher": 2,
    "callbacks": 2,
    "training": 3,
    "benchmarks": 4,
    "studies": 4,
    "reports": 4,
    "explanations": 4.5,  # its numbers and pages are made as those of reports are
    "exporting": 4,
    "panels": 4.7,
    "manual": 4.8,  # it lists what other rooms declare
    "train": 5,
    "evaluate": 5,
    "benchmark": 5,
    "explain": 5,
    "study": 5,
    "visualize": 5,
    "export": 5,
    "predict": 5,
    "dashboard": 5,
}
# What the bottom floors may import besides the standard library.
OUTSIDE = {
    "errors": set(),
    "grammar": set(),
    "quiet_import": set(),
    "aliases": set(),
    "paths": set(),
    "keras_defaults": {"keras"},
    "files": set(),
    "escaping": set(),
    "config": set(),
    "settings": set(),
    "randomness": {"numpy"},
    "devices": {"torch"},
    "replicas": {"numpy", "keras", "torch", "jax"},
    "dispatcher": set(),
    "figures": {"matplotlib"},
    "models": {"keras", "numpy", "torch", "triton"},
    "datasets": {"torch", "keras", "numpy", "PIL", "filelock", "sklearn", "tensorflow_datasets", "keras_cv", "tensorflow"},
}


def room(path):
    return path.parent.name if path.parent != ROOT else path.stem


def imports(path):
    """(top-level name, whether torch-like heavy) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_upward(path):
    own = room(path)
    for name in set(imports(path)) & FLOORS.keys() - {own}:
        # dispatcher imports settings where it is called, which selects the backend before Keras is imported
        assert FLOORS[name] < FLOORS[own], f"{path.name} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_lower_floors_import_only_what_they_may(path):
    import sys

    allowed = OUTSIDE.get(room(path))
    if allowed is not None:
        assert set(imports(path)) - sys.stdlib_module_names - FLOORS.keys() <= allowed


def test_torch_is_imported_in_three_files_of_models():
    importing = [path.name for path in SOURCES if room(path) == "models" and "torch" in set(imports(path))]
    assert importing == ["torch_batch_norm.py", "torch_convolution.py", "torch_norms.py", "torch_ops.py"]


def test_the_backend_is_asked_for_in_few_places():
    asking = [path.name for path in SOURCES if "config.backend() " in path.read_text() or "backend() ==" in path.read_text()]
    assert len(asking) <= 5, asking


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_their_names_say_something(path):
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}
    assert ast.get_docstring(ast.parse(path.read_text()))

"""The lock file: what the tests and CI install is what the requirements pin, each file known by its hash."""

import re

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

LISTS = ("requirements.txt", *(f"requirements/{name}.txt" for name in ("ray", "search", "lessons", "keras-hub", "dev")))
PYTHONS = ("3.11", "3.12", "3.13")


def requirements_of(name):
    """The requirements of a file, without what stands behind a # and without other files that it names."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = (re.split(r"\s#|\s--hash|^#", line)[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


LOCKED = requirements_of("requirements/lock.txt")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", [("linux", "Linux"), ("darwin", "Darwin"), ("win32", "Windows")], ids=lambda names: names[1])
def test_the_lock_has_every_pinned_version_for_every_python_and_system(python, system):
    machine = {"python_version": python, "python_full_version": f"{python}.5", "platform_machine": "x86_64"}
    machine |= {"sys_platform": system[0], "platform_system": system[1]}

    def versions(requirements):
        return {found.name: str(found.specifier) for found in requirements if not found.marker or found.marker.evaluate(machine)}

    pinned = versions([found for name in LISTS for found in requirements_of(name) if found.name != "torch"])
    assert pinned.items() <= versions(LOCKED).items()


def test_every_file_of_the_lock_is_known_by_its_hash_and_none_by_its_place():
    text = (ROOT / "requirements/lock.txt").read_text()
    assert text.count("\n    --hash=sha256:") >= len(LOCKED) > 100
    for entry in re.split(r"\n(?=\w)", text)[1:]:
        assert "--hash=sha256:" in entry and re.match(r"[\w.-]+==[\w.]+", entry), entry
    assert "://" not in text and not [found for found in LOCKED if found.name == "torch"]

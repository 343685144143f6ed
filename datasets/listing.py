"""Image files of a data set before they are decoded: which split and class each belongs to."""

from dataclasses import dataclass, field
from pathlib import Path

VAL_NAMES = ("val", "valid", "validation")


@dataclass(frozen=True)
class Listing:
    """Files below `root` by split, train first. Splits that the source lacks are missing."""

    root: Path
    class_names: tuple[str, ...]
    files: dict[str, list[tuple[Path, int]]]  # {split: [(image file, label), ...]}
    others: dict[str, list[tuple[Path, str]]] = field(default_factory=dict)  # {split: [(other file, why it is no image), ...]}
    notes: tuple[str, ...] = ()
    columns: dict[str, dict[Path, str]] = field(default_factory=dict)  # {column of a CSV: {file: value}}

"""CSV file that lists pictures instead of folders: `path,label[,split,group]`, paths relative to the file's own folder.

Other columns may stand beside these; the setting `group_by` can name one. Commas, semicolons or tabs separate the columns.
"""

import csv
import os

from datasets.listing import VAL_NAMES, Listing
from foundation.errors import UserError, normal, printable, unknown
from foundation.files import read_regular
from foundation.grammar import counted

NEEDED = ("path", "label")
SPLITS = {"train": "train", "test": "test"} | dict.fromkeys(VAL_NAMES, "val")
LARGEST = 256 << 20  # bytes
SHOWN = 3  # faults that an error names; the others are counted


def is_labels_file(path):
    """Return whether a path names such a file rather than a folder of pictures."""
    return path.suffix.lower() == ".csv"


def read_labels(path) -> Listing:
    """Return the Listing of a CSV file. Raises a UserError that names the first faulty rows."""
    header, rows = _table(path)
    found, faults, known = {}, [], set()
    for number, row in rows:
        if fault := _fault_of(row, header, path.parent, known):
            faults.append(f"row {number}: {fault}")
            continue
        record = dict(zip(header, row, strict=True))
        known.add(os.path.normpath(record["path"]))
        found.setdefault(SPLITS[record.get("split", "train").lower()], []).append(record)
    if faults:
        more = f"; and {len(faults) - SHOWN:,} more" if len(faults) > SHOWN else ""
        raise UserError(f"{path}: {'; '.join(faults[:SHOWN])}{more}")
    return _listing(path, header, found)


def _table(path):
    """Return (names of the columns, [(number of the line, cells), ...]). Raises UserError."""
    if not path.is_file():
        raise UserError(f"no file {path} (wanted: a CSV file with the columns path,label[,split,group])")
    try:
        lines = read_regular(path, LARGEST).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    first = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=max(",;\t", key=first.count))
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    header = [name.lower() for name in rows[0][1]] if rows else []
    for name in NEEDED:
        if name not in header:
            raise UserError(f"{path} has no column '{name}': {unknown_column(name, header)}")
    if repeated := [name for name in header if name and header.count(name) > 1]:
        raise UserError(f"{path} has {header.count(repeated[0])} columns called '{printable(repeated[0])}'")
    return header, rows[1:]


def unknown_column(name, header) -> str:
    """Return what to say of a column that is missing: the nearest name that is there, and all names."""
    said = str(unknown("column", name, [printable(other) for other in header if other]))
    return said.partition("; ")[2] or f"it has {', '.join(map(printable, header[:12])) or 'none'}"


def _fault_of(row, header, folder, known):
    """Return what is wrong with a row, or None. `known` are the paths of earlier rows."""
    if len(row) != len(header):
        return f"{counted(len(row), 'cell')} for {counted(len(header), 'column')}"
    record = dict(zip(header, row, strict=True))
    path, split = record["path"], record.get("split", "train")
    place = os.path.normpath(path)
    if not path or "\0" in path:
        return "path is empty"
    if os.path.isabs(path) or place.split(os.sep)[0] == "..":
        return f"path '{printable(path)}' is not below the folder of the CSV file"
    if not record["label"]:
        return f"label of {printable(path)} is empty"
    if split.lower() not in SPLITS:
        return str(unknown("split", split, SPLITS))
    if place in known:
        return f"path '{printable(path)}' stands in an earlier row too"
    if not (folder / place).is_file():
        return f"there is no file {printable(folder / place)}"
    return None


def _listing(path, header, found):
    class_names = sorted({normal(row["label"]): row["label"] for row in found.get("train", [])}.values())
    if len(class_names) < 2:
        raise UserError(f"{path} names {counted(len(class_names), 'class', 'classes')} for train; at least two are needed")
    label_of = {normal(name): label for label, name in enumerate(class_names)}
    files, columns = {}, {name: {} for name in header if name and name not in (*NEEDED, "split")}
    for split in sorted(found, key=("train", "val", "test").index):
        files[split] = []
        for row in found[split]:
            file = path.parent / os.path.normpath(row["path"])
            if normal(row["label"]) not in label_of:
                raise unknown(f"class of {split} in {path}", row["label"], class_names, "classes are the labels of train")
            files[split].append((file, label_of[normal(row["label"])]))
            for name, values in columns.items():
                values[file] = row[name]
    return Listing(path.parent, tuple(class_names), files, columns=columns)

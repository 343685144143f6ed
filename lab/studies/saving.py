"""A study that was asked on the command line, as a file of lab/studies/."""

import json
import keyword
import pkgutil
import re
from pathlib import Path

from foundation.errors import UserError
from foundation.files import write_file
from lab import studies

FOLDER = Path(__file__).parent


def save(name, study, seeds, settings) -> Path:
    """Write a study's file, with these seeds and settings as its only scale; return the path. Raises UserError."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"--save {name}: a study's name has small letters, digits and _, such as mish_or_silu")
    taken = {module.name for module in pkgutil.iter_modules(studies.__path__)}
    path = FOLDER / f"{name}.py"
    if name in taken or path.exists():
        raise UserError(f"--save {name}: {path.name} is there already; choose another name")
    write_file(path, text_of(study, seeds, settings).encode())
    return path


def text_of(study, seeds, settings) -> str:
    """Return the text of a study's file."""
    (scale,) = study.scales
    margin = f"    margin={study.margin},\n" if study.margin else ""
    shared = f"    shared={_dictionary(study.shared, 1)},\n" if study.shared else ""
    remarks = "".join(f"        {_text(remark)},\n" for remark in study.remarks)
    remarks = f"    remarks=(\n{remarks}    ),\n" if remarks else ""
    arms = "".join(_arm(arm) for arm in study.arms)
    return (
        '"""A comparison that was first asked on the command line."""\n\n'
        "from lab.studies.study import Arm, Scale, Study\n\n"
        "STUDY = Study(\n"
        f"    question={_text(study.question)},\n"
        f"    source={_text(study.source)},\n"
        f"    arms=(\n{arms}    ),\n"
        f"    reference={_text(study.reference)},\n"
        f"{shared}{margin}"
        "    scales={\n"
        f"        {_text(scale)}: Scale(\n            {_dictionary(settings, 3)},\n            seeds={seeds},\n        ),\n"
        "    },\n"
        f"{remarks}"
        ")\n"
    )


def _arm(arm):
    return f"        Arm(\n            {_text(arm.name)},\n            {_dictionary(arm.settings, 3)},\n        ),\n"


def _dictionary(values, depth):
    """Return the source of a dictionary, one entry a line."""
    if not values:
        return "{}"
    indent = "    " * (depth + 1)
    entries = "".join(f"{indent}{_text(name)}: {_source(value)},\n" for name, value in values.items())
    return f"{{\n{entries}{indent[4:]}}}"


def _source(value):
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value):
    return json.dumps(value, ensure_ascii=False)

"""The tables of all settings: shipped value, allowed values and meaning, one table for each heading of config.py."""

import types
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from manual.markdown import code, table
from settings import CHECKS, Config
from training.flag_help import sections

CONFIG = Path(__file__).parent.parent / "config.py"
KINDS = {bool: "`True` or `False`", int: "a whole number", float: "a number", str: "text"}
WORST = {int: (float("-inf"), float("inf")), float: (float("-inf"), float("inf")), str: ("/",)}
COLUMNS = ("setting", "shipped value", "allowed", "meaning")


def settings_table():
    """Return a heading and a table for each group of settings."""
    tables = []
    for heading, sentences in sections(CONFIG.read_text(encoding="utf-8")).items():
        rows = [_row(name, sentence) for name, sentence in sentences.items()]
        tables.append(f"### {heading or 'Preset'}\n\n{table(COLUMNS, rows)}")
    return "\n\n".join(tables)


def _row(name, sentence):
    value = next(field.default for field in fields(Config) if field.name == name)
    return code(name), code(repr(value)), allowed(name), sentence.replace("<", "&lt;")


def allowed(name):
    """Return the allowed values of a setting in words."""
    kind = get_type_hints(Config)[name]
    if get_origin(kind) is Literal:
        return ", ".join(map(code, get_args(kind)))
    kinds = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
    condition = _condition(name, kinds[0])
    words = condition if condition and str in kinds else ", ".join(filter(None, [KINDS[kinds[0]], condition]))
    return f"{words}, or `None`" if types.NoneType in kinds else words


def _condition(name, kind):
    """Return what the check of a setting demands, in the words in which it refuses the worst values of the type."""
    demands = (CHECKS[name](value) for value in WORST.get(kind, ()))
    return next(filter(None, demands), "")

"""The tables of all settings: shipped value, allowed values and meaning, one table for each heading."""

import types
from typing import Literal, get_args, get_origin

from foundation.allowed import KINDS
from foundation.settings import by_heading
from lab.manual.markdown import code, table

WORST = {int: (float("-inf"), float("inf")), float: (float("-inf"), float("inf")), str: ("/",)}
COLUMNS = ("setting", "shipped value", "allowed", "meaning")


def settings_table():
    """Return a heading and a table for each group of settings."""
    tables = []
    for heading, settings in by_heading().items():
        rows = [_row(each) for each in settings]
        tables.append(f"### {heading or 'Preset'}\n\n{table(COLUMNS, rows)}")
    return "\n\n".join(tables)


def _row(setting):
    return code(setting.name), code(repr(setting.shipped)), allowed(setting), setting.sentence.replace("<", "&lt;")


def allowed(setting):
    """Return the allowed values of a setting in words."""
    kind = setting.type
    if get_origin(kind) is Literal:
        return ", ".join(map(code, get_args(kind)))
    kinds = get_args(kind) if get_origin(kind) is types.UnionType else (kind,)
    condition = _condition(setting, kinds[0])
    words = condition if condition and str in kinds else ", ".join(filter(None, [_words(kinds[0]), condition]))
    return f"{words}, or `None`" if types.NoneType in kinds else words


def _words(kind):
    return "`True` or `False`" if kind is bool else KINDS[kind]


def _condition(setting, kind):
    """Return what the check of a setting demands, in the words in which it refuses the worst values of the type."""
    demands = (setting.condition(value) for value in WORST.get(kind, ()))
    return next(filter(None, demands), "")

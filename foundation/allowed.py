"""Conditions on the value of a setting: each returns what is allowed, in words, or None for a value that is."""

import os
import re
import types

from foundation.paths import is_nobodys

KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text", types.NoneType: "None"}


def between(low, high):
    return lambda value: None if low <= value <= high else f"from {low} to {high}"


def below(high):
    return lambda value: None if 0 <= value < high else f"from 0 to below {high}"


def at_least(low):
    return lambda value: None if low <= value < float("inf") else f"at least {low}"


def zero_or(low, high):
    return lambda value: None if value == 0 or low <= value <= high else f"0 or from {low} to {high}"


def or_none(condition):
    return lambda value: None if value is None else condition(value)


def val_share(value):
    return None if 0 < value <= 0.5 else "more than 0, up to 0.5"


def frozen_part(value):
    return None if re.fullmatch(r"none|backbone|stages:\d+(-\d+)?", value) else "none, backbone or stages:1-2"


def group_pattern(value):
    """A text with a bracket is a regular expression, which needs a group; any other is a column's name."""
    try:
        is_fine = "(" not in value or re.compile(value).groups > 0
    except (re.error, OverflowError, RecursionError):
        is_fine = False
    return writable(value) if is_fine else r"a regular expression with a group, such as '(bird\d+)_', or a column's name"


def one_name(value):
    is_fine = value == "" or (value not in (".", "..") and all(c.isalnum() or c in "._-" for c in value))
    return None if is_fine and len(value.encode()) <= 100 else "letters, digits, '.', '_' and '-' only, at most 100 of them"


def anything(value):
    return None


def not_empty(value):
    return writable(value) if value else "not empty"


def writable(value):
    """Some code points of Unicode are no characters, and paths have no zero byte."""
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return "characters only"
    return "characters only" if "\0" in value else None


def folder(value):
    return not_empty(value) or ("a path; this machine has no such user" if is_nobodys(value) else None)

"""Every setting as a flag, and one line for a wrong one."""

import argparse
import contextlib
import os
import sys
import types
from typing import Literal, get_args, get_origin

from foundation import config_file
from foundation.aliases import unknown_setting
from foundation.checks import checked, fault_of
from foundation.command_line import Parser
from foundation.errors import UserError
from foundation.presets import PRESETS
from foundation.settings import SETTINGS, by_heading

LIST = "python train.py --help lists all"


def read_config(arguments=None):
    """Return the checked Config of config.py with a preset's settings over it and the command line's flags over both.

    Nothing else reads config.py. Raises UserError.
    """
    flags = read_flags(sys.argv[1:] if arguments is None else arguments)
    values = config_file.read_values()
    preset = flags.get("preset", values.get("preset", SETTINGS["preset"].shipped))
    return checked(values | PRESETS[preset] | flags)


def read_flags(arguments):
    """Return {setting: value} of the flags that are given. Raises UserError; `--help` leaves with exit code 0."""
    given = vars(_parser().parse_args([_with_dashes(argument) for argument in arguments]))
    return dict(read_setting(f"{name}={text}") if isinstance(text, str) else (name, text) for name, text in given.items())


def read_setting(assignment):
    """Return the name and the value of a text such as `init_lr=0.1`. Raises UserError."""
    name, _, text = assignment.partition("=")
    name = name.replace("-", "_")
    if name not in SETTINGS:
        raise unknown_setting(name, SETTINGS, hint=LIST)
    value = _converted(text, SETTINGS[name].type)
    if fault := fault_of(name, value):
        raise UserError(fault)
    return name, value


def _parser():
    width = min(os.get_terminal_size().columns, 130) if sys.stdout.isatty() else 130
    parser = Parser(
        prog="python train.py",
        description="Train a residual network. A flag wins over the value in config.py.",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=34, width=width),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        usage="python train.py [FLAG ...]",
    )
    for heading, settings in by_heading().items():
        group = parser.add_argument_group(heading) if heading else parser
        for each in settings:
            _add(group, each)
    return parser


def _add(group, setting):
    flag, kind = "--" + setting.name.replace("_", "-"), setting.type
    sentence = f"{setting.sentence} (shipped: {'nothing' if setting.shipped in ('', None) else setting.shipped})".replace(
        "%", "%%"
    )
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=sentence)
    elif get_origin(kind) is Literal:
        group.add_argument(flag, metavar="NAME", help=f"{', '.join(get_args(kind))}; {sentence}")
    else:
        named = [one.__name__.upper() for one in _kinds(kind) if one is not types.NoneType]
        group.add_argument(flag, metavar="TEXT" if named == ["STR"] else named[0], help=sentence)


def _with_dashes(argument):
    """Return a flag with `-` for `_`, since settings are written with `_` in config.py."""
    flag, equals, value = argument.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else argument


def _kinds(kind):
    return get_args(kind) if get_origin(kind) is types.UnionType else (kind,)


def _converted(text, kind):
    """Return a text as the type that a setting has; the text itself where it is none, which `fault_of` then reports."""
    if get_origin(kind) is Literal:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    for wanted in _kinds(kind):
        if wanted is types.NoneType:
            if text == "None":
                return None
            continue
        with contextlib.suppress(ValueError):
            return wanted(text)
    return text

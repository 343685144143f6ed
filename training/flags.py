"""Every field of the config as a flag, and one line for a wrong one."""

import contextlib
import io
import sys
import types
from dataclasses import asdict, fields, replace
from typing import Literal, get_args, get_origin, get_type_hints

from aliases import unknown_setting
from errors import UserError, unknown
from settings import Config, check, fault_of
from training.flag_help import show_help


def read_config(arguments=None):
    """The settings of config.py, which nothing else reads, with the command line's flags over them, checked. Raises UserError."""
    arguments = sys.argv[1:] if arguments is None else arguments
    import tyro

    import config

    if {"-h", "--help"} & set(arguments):
        show_help(config)
    chosen = None
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        preset = tyro.cli(config.Config, args=arguments, console_outputs=False).preset
        chosen = tyro.cli(config.Config, args=arguments, default=_of_preset(config, preset), console_outputs=False)
    if chosen is None:
        raise _fault_in(arguments, config)
    check(chosen)
    return Config(**asdict(chosen))


def read_setting(assignment):
    """The name and the value of a text such as `init_lr=0.1`, whether or not it goes with other settings. Raises UserError."""
    name, _, text = assignment.partition("=")
    name, types_of = name.replace("-", "_"), get_type_hints(Config)
    if name not in types_of:
        raise unknown_setting(name, types_of, hint="python train.py --help lists all")
    value = _converted(text, types_of[name])
    if fault := fault_of(name, value, types_of[name]):
        raise UserError(fault)
    return name, value


def _of_preset(config, name):
    """The values of config.py with a preset's over them; flags then win over both. Raises UserError for a slip in a preset."""
    settings, names = config.PRESETS.get(name, {}), get_type_hints(config.Config)
    for other in settings:
        if other not in names:
            raise unknown(f"setting of preset '{name}'", other, names)
    return replace(config.Config(), **settings)


def _fault_in(arguments, config):
    """Why the flags could not be read, found by reading them once more, one at a time."""
    types_of = get_type_hints(config.Config)
    flags = {}
    for field in fields(config.Config):
        flags["--" + field.name.replace("_", "-")] = field.name
        if types_of[field.name] is bool:
            flags["--no-" + field.name.replace("_", "-")] = field.name
    rest = list(arguments)
    while rest:
        flag, _, value = rest.pop(0).partition("=")
        flag = "--" + flag[2:].replace("_", "-") if flag.startswith("--") else flag
        if flag not in flags:
            return unknown_setting(flag, flags, "flag", "python train.py --help lists all")
        kind = types_of[flags[flag]]
        if kind is bool:
            continue
        if not value:
            if not rest or rest[0].startswith("--"):
                return UserError(f"{flag} needs a value")
            value = rest.pop(0)
        fault = fault_of(flags[flag], _converted(value, kind), kind)
        if fault:
            return UserError(fault)
    return UserError(f"these flags could not be read: {' '.join(arguments)}")


def _converted(text, kind):
    """The text as the type that a flag wants; the text itself where it is none, which `fault_of` then reports."""
    if get_origin(kind) is Literal:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    for wanted in get_args(kind) if get_origin(kind) is types.UnionType else (kind,):
        if wanted is type(None):
            if text == "None":
                return None
            continue
        with contextlib.suppress(ValueError):
            return wanted(text)
    return text

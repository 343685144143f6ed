"""config.py, the file that a user edits: read, and written anew with the values that it holds.

`python -m foundation.config_file` (or `make config`) writes it from the declarations of `settings`, as after an update
that brought new ones.
"""

import ast
import os
import sys
import textwrap
import traceback
from pathlib import Path
from typing import Literal, get_args, get_origin

from foundation.aliases import unknown_setting
from foundation.checks import fault_of
from foundation.errors import UserError
from foundation.files import write_whole
from foundation.scripts import run_script
from foundation.settings import SETTINGS, by_heading

ROOT = Path(__file__).parent.parent
WIDTH = 130  # columns of a line
HEAD = '''"""The settings of a run: edit the values here, then `python train.py`. Each is also a flag: `init_lr` is `--init-lr`.

A flag wins over the value here. A line that you delete has its shipped value. Nothing but `train.py` reads this file.
"""
'''


def path() -> Path:
    """Return the path of the file: config.py, or what the environment variable RESLAB_CONFIG names."""
    return Path(os.environ.get("RESLAB_CONFIG") or ROOT / "config.py")


def read_values():
    """Return {setting: value} of the file. Raises a UserError that names the line for what is no setting or not allowed."""
    file = path()
    try:
        source = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no text in UTF-8: save it as such") from error
    found = _executed(source, file)
    if isinstance(found.get("Config"), type):
        raise UserError(f"{file.name} holds a class: settings are plain assignments, such as epochs = 20")
    lines = _lines_of(source)
    values = {}
    for name in [*lines, *(name for name in found if name in SETTINGS and name not in lines)]:
        where = f"{file.name}, line {lines[name]}" if name in lines else file.name
        if name not in SETTINGS:
            raise UserError(f"{where}: {unknown_setting(name, SETTINGS)}")
        if fault := fault_of(name, found[name]):
            raise UserError(f"{where}: {fault}")
        values[name] = found[name]
    return values


def _executed(source, file):
    """Return the names that the file defines. Raises UserError where Python can't execute it."""
    names = {"__name__": "config", "__file__": str(file)}
    try:
        exec(compile(source, str(file), "exec"), names)
    except SyntaxError as error:
        raise UserError(f"{file.name}, line {error.lineno}: {error.msg}") from None
    except Exception as error:  # whatever the user's expressions raise
        own = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(file)]
        raise UserError(f"{file.name}, line {own[-1]}: {error}") from None
    return names


def _lines_of(source):
    """Return {name: line} of the names that the file assigns, except those that begin with an underscore."""
    found = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value:
            targets = [node.target]
        found |= {target.id: node.lineno for target in targets if isinstance(target, ast.Name) and target.id[0] != "_"}
    return found


def render(values) -> str:
    """Return the text of the file with these values; a setting that is missing among them has its shipped value."""
    blocks = [HEAD]
    for heading, settings in by_heading().items():
        lines = [f"# {heading}"] if heading else []
        for each in settings:
            lines += _lines(each, values.get(each.name, each.shipped))
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _lines(setting, value):
    assignment = f"{setting.name} = {_shown(value)}"
    sentence = explanation(setting)
    if len(f"{assignment}  # {sentence}") <= WIDTH:
        return [f"{assignment}  # {sentence}"]
    return [*textwrap.wrap(sentence, WIDTH, initial_indent="# ", subsequent_indent="# "), assignment]


def _shown(value):
    return f'"{value}"' if isinstance(value, str) and value.isprintable() and not {'"', "\\"} & set(value) else repr(value)


def explanation(setting):
    """Return a setting's sentence, with its values before it where it is one of a few."""
    if get_origin(setting.type) is not Literal:
        return setting.sentence
    return f"{' | '.join(get_args(setting.type))}; {setting.sentence}"


def main():
    text = render(read_values())
    if path().read_text(encoding="utf-8") == text:
        print(f"{path()} is up to date")
    else:
        write_whole(path().parent, path().name, text.encode())
        print(f"{path()} is written anew, with the values that it held")


if __name__ == "__main__":
    sys.exit(run_script(main))

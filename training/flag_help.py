"""The page of `--help`: every setting with its sentence and its value in config.py, under the headings of that file."""

import inspect
import re
from dataclasses import field, make_dataclass
from typing import Annotated, get_type_hints

FIELD = re.compile(r"    (\w+): .*?(?:  # (.*))?")
COMMENT = re.compile(r"    # (.*)")


def show_help(config):
    """Prints the page for the module `config` and leaves with exit code 0."""
    import tyro

    tyro.cli(grouped(config.Config), args=["--help"])


def grouped(config_class):
    """A class like the one of the settings that holds a class for each heading: tyro gives each a box of its own."""
    import tyro

    types, values, parts = get_type_hints(config_class), config_class(), []
    for heading, sentences in sections(inspect.getsource(config_class)).items():
        settings = [
            (name, Annotated[types[name], tyro.conf.arg(help=sentence)], field(default=getattr(values, name)))
            for name, sentence in sentences.items()
        ]
        if not heading:
            parts += settings
            continue
        group = make_dataclass(heading.replace(" ", "_"), settings)
        parts.append((heading.lower().replace(" ", "_"), tyro.conf.OmitArgPrefixes[group], field(default_factory=group)))
    page = make_dataclass(config_class.__name__, parts)
    page.__doc__ = config_class.__doc__
    return page


def sections(source):
    """{heading: {setting: its sentence}} of the source of the settings' class.

    A heading is a comment after an empty line. A sentence stands behind its setting, or above it.
    """
    found, heading, above, is_after_empty = {"": {}}, "", [], False
    for line in source.splitlines():
        if comment := COMMENT.fullmatch(line):
            if is_after_empty:
                heading, above = comment[1], []
                found[heading] = {}
            else:
                above.append(comment[1])
        elif setting := FIELD.fullmatch(line):
            found[heading][setting[1]] = " ".join([*above, *filter(None, [setting[2]])])
            above = []
        is_after_empty = not line.strip()
    return {heading: settings for heading, settings in found.items() if settings}

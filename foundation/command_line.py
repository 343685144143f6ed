"""The parser of every script's command line: a mistake is one line that says what is allowed."""

import argparse
import re

from foundation.aliases import unknown_setting
from foundation.allowed import KINDS
from foundation.errors import UserError

# What a function that reads an argument allows, by its name, as argparse reports it.
READERS = {kind.__name__: words for kind, words in KINDS.items()} | {"count": "a whole number, at least 1"}


def count(text) -> int:
    """Return the positive whole number that a text says. Raises ValueError."""
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


class Parser(argparse.ArgumentParser):
    """Raises UserError with one line where argparse prints its usage and leaves."""

    def parse_known_args(self, args=None, namespace=None):
        found, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("-"):
            known = [flag for action in self._actions for flag in action.option_strings]
            raise unknown_setting(rest[0].partition("=")[0], known, "flag", self._hint())
        if rest:
            raise UserError(f"'{rest[0]}' belongs to no flag ({self._hint()})")
        return found, rest

    def error(self, message):
        name, _, fault = message.removeprefix("argument ").partition(": ")
        flag = name.partition("/")[0]
        if wrong := re.fullmatch(r"invalid (\w+) value: (.*)", fault):
            message = f"{flag} is {wrong[2]}, allowed: {READERS.get(wrong[1], wrong[1])}"
        elif fault.startswith("expected"):
            message = f"{flag} needs a value"
        elif fault.startswith("ignored"):
            message = f"{flag} takes no value"
        raise UserError(f"{message.removeprefix('argument ')} ({self._hint()})")

    def _hint(self):
        return f"python {self.prog.removeprefix('python ')} --help"

"""`python as_shipped.py SCRIPT ARGUMENTS` is `python SCRIPT ARGUMENTS`, whatever its user edited in config.py."""

import contextlib
import os
import runpy
import sys

import shipped

with contextlib.suppress(Exception):  # what can't be imported, the script says
    shipped.forget_edits()
del sys.argv[0]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")

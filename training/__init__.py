"""From a config to a finished run: flags, the run directory, compiling, fitting, measuring."""

from backend import select_backend

select_backend()

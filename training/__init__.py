"""From a config to a finished run: flags, the run directory, compiling, fitting, measuring."""

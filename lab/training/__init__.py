"""From settings to a finished run: compiling, fitting, measuring, transfer."""

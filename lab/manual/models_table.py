"""The table of all networks with their depth and cost."""

from dispatcher import measure_model
from lab.manual.markdown import code, table

COLUMNS = ("model", "depth", "pixels", "parameters", "MACs")


def models_table(names) -> str:
    """Return the table of the networks of these names, each built for the image size that it was made for and 10 classes."""
    return table(COLUMNS, [_row(name) for name in names])


def _row(name):
    depth, pixels, parameters, macs = measure_model(name)
    return code(name), depth, pixels, f"{parameters:,}", f"{macs:,}"

"""Functions that the notebooks of lessons/ are written with: networks are trained, looked at and compared in a line each.

    from lab.lessons import compare, train

    compare(train("resnet20"), train("plain20"))

A value that a cell ends with shows itself: a run its curves, a `Shown` its figure, which has the numbers as `.measured`.
"""

from foundation.backend import select_backend

select_backend()  # before anything imports Keras

from lab.lessons.looks import compare, explain, flow, landscape, lesions  # noqa: E402
from lab.lessons.running import IS_SMALL, Trained, check, fresh, sized, study_runs, train  # noqa: E402
from lab.lessons.shown import Shown, Table, lines, points  # noqa: E402

__all__ = [
    "IS_SMALL",
    "Shown",
    "Table",
    "Trained",
    "check",
    "compare",
    "explain",
    "flow",
    "fresh",
    "landscape",
    "lesions",
    "lines",
    "points",
    "sized",
    "study_runs",
    "train",
]

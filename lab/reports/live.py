"""A study while it runs: one line of progress, the curves of all arms redrawn, and the report at its end."""

import sys
import time

from foundation.files import write_whole
from foundation.style import image_of
from lab.reports.figures import draw_curves
from lab.reports.measures import add_measures
from lab.reports.report_pictures import histories_of
from lab.reports.results import results_of
from lab.reports.study_report import write_report


class ProgressLine:
    """Shows lines that follow one another: on a terminal each over the last, elsewhere when runs have finished or failed."""

    def __init__(self, name):
        self.name, self.line = name, ""

    def __call__(self, line):
        if sys.stdout.isatty():
            print(f"\r{self.name}: {line} \033[K", end="", flush=True)
        elif line.partition(", epoch")[0] != self.line.partition(", epoch")[0]:
            print(f"{self.name}: {line}", flush=True)
        self.line = line


class Live:
    """Shows the progress of a study's session and keeps `folder` up to date."""

    interval = 10.0  # seconds between two drawings

    def __init__(self, session, folder):
        self.session, self.folder = session, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.progress = ProgressLine(session.name)
        self.drawn = 0.0

    def redraw(self):
        if time.monotonic() - self.drawn > self.interval:
            self.drawn = time.monotonic()
            figure = draw_curves(histories_of(self.session.runs), self.session.title)
            write_whole(self.folder, "curves.png", image_of(figure, "png", dpi=110))

    def finish(self):
        """Writes the report and prints its sentences."""
        results, contrasts = results_of(self.session.study, self.session.runs)
        add_measures(results, self.session.study.measures, self.folder)
        for old in (*self.folder.glob("*.png"), *self.folder.glob("*.svg")):  # a figure of other runs may have no successor
            old.unlink()
        write_report(self.session, results, contrasts, lambda file, data: write_whole(self.folder, file, data))
        print()
        for result in results:
            accuracy = f"{result.accuracy.mean:.2f} %" if result.accuracy else "failed" if result.failures else "no result"
            print(f"{result.name:24} {accuracy:>9}   {result.comparison.sentence() if result.comparison else ''}")
        for contrast in contrasts:
            print(contrast.sentence())
        print(f"all in {self.folder / 'report.html'}")

"""A study while it runs: one line of progress, the curves of all arms redrawn, and the report at its end."""

import sys
import time

from foundation.files import as_json, write_whole
from foundation.grammar import counted
from foundation.style import image_of
from lab.reports import cells
from lab.reports.figures import draw_curves
from lab.reports.measures import add_measures
from lab.reports.report_pictures import curves_of
from lab.reports.results import results_of
from lab.reports.study_report import write_report

PROGRESS = "progress.json"  # of a study whose runs train: the rows of `arms_so_far`


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

    def say(self, line):
        """Print a line that stays."""
        print(f"\r\033[K  {line}" if sys.stdout.isatty() else f"  {line}", flush=True)


def arms_so_far(session):
    """Return a row for each arm: its seeds, its difference with the interval so far, and whether that is an answer."""
    rows = []
    for result in results_of(session.study, session.runs, session.look_plan)[0]:
        planned = sum(planned.arm == result.name for planned in session.runs)
        row = {"arm": result.name, "seeds": f"{len(result.accuracies)} of {counted(planned, 'seed')}"}
        row["accuracy"] = f"{result.accuracy.mean:.2f} %" if result.accuracy else ""
        row |= {"difference": "", "interval": "", "against": "", "state": ""}
        if one := result.comparison:
            row |= {"difference": f"{one.difference.mean:+.2f}", "against": result.versus}
            row["interval"] = cells.interval(one.difference.interval, "+") if one.difference.interval else ""
            row["state"] = _state(one, session.look_plan, len(one.values) == planned)
        rows.append(row)
    return rows


def _state(comparison, look_plan, is_complete):
    """Return whether a comparison is answered; a verdict only at looks, or when all seeds of both arms are there."""
    if look_plan is None:
        return comparison.verdict if is_complete else "no verdict before all seeds are there"
    return f"answered: {comparison.verdict}" if comparison.is_answered else f"open after {len(comparison.values)} seeds"


def _line(row):
    """Return a row of `arms_so_far` as a line."""
    line = f"{row['arm']}: {row['seeds']}" + (f", mean {row['accuracy']}" if row["accuracy"] else "")
    if row["difference"]:
        difference = " ".join(filter(None, (row["difference"], row["interval"])))
        line += f", {difference} against {row['against']}: {row['state']}"
    return line


class Live:
    """Shows the progress of a study's session, as a whole and of each arm, and keeps `folder` up to date."""

    interval = 10.0  # seconds between two drawings

    def __init__(self, session, folder):
        self.session, self.folder = session, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.progress = ProgressLine(session.name)
        self.drawn = 0.0
        self.finished = self._finished()

    def redraw(self):
        if (finished := self._finished()) != self.finished:
            before, self.finished = self.finished, finished
            rows = arms_so_far(self.session)
            write_whole(self.folder, PROGRESS, as_json(rows))
            for row in rows:
                if finished[row["arm"]] != before[row["arm"]]:
                    self.progress.say(_line(row))
        if time.monotonic() - self.drawn > self.interval:
            self.drawn = time.monotonic()
            figure = draw_curves(curves_of(self.session), self.session.title)
            write_whole(self.folder, "curves.png", image_of(figure, "png", dpi=110))

    def _finished(self):
        """Return {arm: seeds with a result}."""
        counts = dict.fromkeys((planned.arm for planned in self.session.runs), 0)
        for planned in self.session.runs:
            counts[planned.arm] += planned.is_finished()
        return counts

    def finish(self):
        """Write the report and print its sentences."""
        (self.folder / PROGRESS).unlink(missing_ok=True)  # the report has it
        results, contrasts = results_of(self.session.study, self.session.runs, self.session.look_plan)
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

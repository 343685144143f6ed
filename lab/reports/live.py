"""A study while it runs: one line of progress, the curves of all arms redrawn, and the report at its end."""

import sys
import time

from foundation.files import write_whole
from foundation.grammar import counted
from foundation.style import image_of
from lab.reports.figures import draw_curves
from lab.reports.measures import add_measures
from lab.reports.report_pictures import curves_of
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

    def say(self, line):
        """Print a line that stays."""
        print(f"\r\033[K  {line}" if sys.stdout.isatty() else f"  {line}", flush=True)


def lines_of_arms(session, arms):
    """Yield a line for each of these arms: its seeds, its difference with the interval so far, and whether that is an answer."""
    for result in results_of(session.study, session.runs, session.look_plan)[0]:
        if result.name in arms:
            own = [planned for planned in session.runs if planned.arm == result.name]
            done = f"{result.name}: {len(result.accuracies)} of {counted(len(own), 'seed')}"
            accuracy = f", mean {result.accuracy.mean:.2f} %" if result.accuracy else ""
            yield f"{done}{accuracy}{_difference_so_far(result, session, len(result.accuracies) == len(own))}"


def _difference_so_far(result, session, is_complete):
    """Return what is known of an arm's difference; a verdict only at looks, or when all seeds are there."""
    one = result.comparison
    if one is None:
        return ""
    interval = f" [{one.difference.interval[0]:+.2f}, {one.difference.interval[1]:+.2f}]" if one.difference.interval else ""
    if session.look_plan:
        state = f"answered: {one.verdict}" if one.is_answered else f"open after {len(one.values)} seeds"
    else:
        state = one.verdict if is_complete else "no verdict before all seeds are there"
    return f", {one.difference.mean:+.2f}{interval} against {result.versus}: {state}"


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
            changed = {arm for arm, count in finished.items() if count != before[arm]}
            for line in lines_of_arms(self.session, changed):
                self.progress.say(line)
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
        """Writes the report and prints its sentences."""
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

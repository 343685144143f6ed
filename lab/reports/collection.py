"""RESULTS.md: the scoreboard of claims and a section for each published study, made from the records of their runs alone."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foundation.files import write_file
from foundation.grammar import agreeing, counted, duration
from foundation.style import image_of
from lab.reports.comparisons import BETTER, PILOT_ONLY, WORSE, Comparison, holm
from lab.reports.image_sampling import ImageComparison, image_comparisons
from lab.reports.measures import put_measures
from lab.reports.report_pictures import report_pictures
from lab.reports.results import Result, results_of
from lab.reports.scoreboard import MARGIN, OPEN, board
from lab.reports.study_report import as_markdown, report_blocks

PICTURES = Path("docs", "results")  # beside the file
HEADER = """# Results

Made by `python study.py --results RESULTS.md` from the records in `results/`, one for each finished run; each section names its
command, its data and its machine. Epochs are chosen on val, test is measured once. Differences are in points of test accuracy.

## Scoreboard

{board}

{counts} A verdict takes at least three seeds and p after Holm among the comparisons of its study; the interval holds
together with all others of that study. That asks a little more than Holm does: some verdicts have intervals that just include 0.
Sameness is a difference shown to lie within {margin:g} points. How that is computed, and what it does not say:
[statistics](docs/statistics.md).

{summary}

Six pilots of two seeds, whose runs were not kept, are in [results/PILOTS.md](results/PILOTS.md).
"""


@dataclass(frozen=True)
class Answer:
    """Answer of the published runs of a study and scale."""

    session: Any  # a Session of `lab.studies.study`
    results: list[Result]
    comparisons: list[Comparison]
    over_images: list[ImageComparison]
    device: str | None  # on which measures beside accuracy were taken

    @classmethod
    def of(cls, session, kept):
        """Return the Answer of a session of published runs; `kept` are its measures, {arm: {measure: {"value", "device"}}}."""
        if session.look_plan is None:
            session = replace(session, study=replace(session.study, margin=session.study.margin or MARGIN))
        results, contrasts = results_of(session.study, session.runs, session.look_plan)
        put_measures(results, kept)
        comparisons = [result.comparison for result in results if result.comparison] + contrasts
        devices = sorted({entry["device"] for entries in kept.values() for entry in entries.values()})
        return cls(session, results, comparisons, image_comparisons(session.runs, comparisons), ", ".join(devices) or None)

    @property
    def title(self) -> str:
        return f"{self.session.name}, {self.session.scale}"

    @property
    def anchor(self) -> str:
        return self.title.replace(", ", "-")

    @property
    def accuracies(self):
        """Test accuracies in percent, {arm: {seed: accuracy}}."""
        return {result.name: result.accuracies for result in self.results}

    def comparison(self, name, other) -> Comparison | None:
        """Return the Comparison of an arm with another, or the contrast of a name if `other` is None; None if there is none."""
        return next((one for one in self.comparisons if (one.name, one.other) == (name, other)), None)

    def pictures(self):
        """Return {name: function that draws the figure}."""
        return report_pictures(self.session, self.results, self.comparisons)

    def file_of(self, picture) -> str:
        return f"{self.session.name}-{self.session.scale}-{picture}.png"


def results_text(answers, found) -> str:
    """Return the text of RESULTS.md from Answers and the Scores of claims."""
    opened = sum(score.verdict == OPEN for score in found)
    counts = f"{len(found) - opened} of {counted(len(found), 'claim')} {agreeing(len(found) - opened, 'is', 'are')} answered."
    rows = board(found)
    table = "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]))
    head = HEADER.format(board=table, counts=counts, margin=MARGIN, summary=summary_of(answers))
    return "\n".join([head, *map(_section, answers)])


def write_results(answers, found, target):
    """Write RESULTS.md, or another file, and its pictures to docs/results/ beside it. Raises UserError."""
    write_file(target, results_text(answers, found).encode())
    for answer in answers:
        for name, draw in answer.pictures().items():
            write_file(target.parent / PICTURES / answer.file_of(name), image_of(draw(), "png", dpi=110))


def _section(answer):
    """Return the section of a study: its report with headings one level lower, and pictures in PICTURES."""
    session, pictures = answer.session, dict.fromkeys(answer.pictures())
    blocks = report_blocks(session, answer.results, answer.comparisons, answer.over_images, pictures, answer.device)
    text = re.sub(r"^#", "##", as_markdown(list(blocks)), flags=re.MULTILINE)
    text = re.sub(r"\((\w+)\.png\)", lambda found: f"({(PICTURES / answer.file_of(found[1])).as_posix()})", text)
    seconds = sum(metrics["seconds"] for result in answer.results for metrics in result.metrics.values())
    spent = f"{counted(len(session.runs), 'run')}, {duration(seconds)} of training in all."
    return text.replace("## ", f"## {answer.title}\n\n**", 1).replace("\n\nSource:", f"**\n\n{spent}\n\nSource:", 1)


def summary_of(answers) -> str:
    """Return a paragraph on how many comparisons there are, and how many are findings."""
    every = [comparison for answer in answers for comparison in answer.comparisons]
    if not every:
        return "No study has published two arms with a seed in common yet."
    verdicts = [comparison.verdict for comparison in every]
    different, pilots = sum(verdict in (BETTER, WORSE) for verdict in verdicts), verdicts.count(PILOT_ONLY)
    text = (
        f"There {agreeing(len(every), 'is', 'are')} {counted(len(every), 'comparison')} in "
        f"{counted(len(answers), 'study', 'studies')}: {different}"
        f" {agreeing(different, 'is', 'are')} called different, {pilots} {agreeing(pilots, 'is', 'are')} of a pilot."
    )
    p_values = [p for p in holm([comparison.p for comparison in every]) if p is not None]
    return f"{text} Adjusted for all of them together, the smallest p is {min(p_values):.2g}." if p_values else text

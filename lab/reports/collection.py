"""One file of results out of the reports of several studies."""

import os
import re
from pathlib import Path
from urllib.parse import quote

from foundation.errors import UserError
from foundation.escaping import for_markdown, tame_markdown
from foundation.files import read_json, read_regular, read_text, write_file
from foundation.grammar import agreeing, counted
from lab.reports.comparisons import BETTER, PILOT_ONLY, WORSE, holm

PICTURES = Path("docs", "results")  # beside the file
HEADER = """# Results

Made by `{command}` from finished studies; each section names its command, its data and its machine.
Epochs are chosen on val, test is measured once. Intervals are 95 % intervals of Student's t over seeds; with few seeds they are
wide, which is the truth about few seeds. Verdicts are by p after Holm within each study; two seeds are a pilot and have none.

{summary}
"""


def collect(studies, target, only=None):
    """Writes the reports below the folder `studies`, or that of one study, to the Markdown file `target`, pictures to
    docs/results/ beside it.

    Returns the names of the studies. Raises UserError where there is no report or the file can't be written.
    """
    reports = sorted(studies.glob(f"{only or '*'}/report.md"))
    if not reports:
        lacking = f"study '{only}' has no report" if only else "no study has a report"
        raise UserError(f"{lacking} in {studies}: run one first, such as python study.py {only or 'depth'} --scale smoke")
    command = " ".join(["python study.py", *filter(None, [only]), "--results", target.name])
    sections = [HEADER.format(command=command, summary=summary_of({path.parent.name: _comparisons_of(path) for path in reports}))]
    for report in reports:
        name = report.parent.name
        text = re.sub(r"^#", "##", tame_markdown(_text_of(report)), flags=re.MULTILINE)
        place = f"{PICTURES.as_posix()}/{quote(os.fsencode(name))}"
        text = re.sub(r"\((\w+\.png)\)", lambda picture, place=place: f"({place}-{picture[1]})", text)
        sections.append(text.replace("## ", f"## {for_markdown(name)}: ", 1))
    write_file(target, "\n".join(sections).encode())
    _write_pictures(reports, target.parent / PICTURES)
    return [report.parent.name for report in reports]


def summary_of(comparisons):
    """Return a paragraph on how many comparisons there are, and how many are findings.

    `comparisons` is {study: [(verdict, p), ...]}, with None for a study that an earlier version reported.
    """
    known = {study: records for study, records in comparisons.items() if records is not None}
    every = [comparison for family in known.values() for comparison in family]
    lines = []
    if known:
        verdicts = [verdict for verdict, _ in every]
        different, pilots = sum(verdict in (BETTER, WORSE) for verdict in verdicts), verdicts.count(PILOT_ONLY)
        lines.append(
            f"All of it holds {counted(len(every), 'comparison')} in {counted(len(known), 'study', 'studies')}: {different}"
            f" {agreeing(different, 'is', 'are')} called different, {pilots} {agreeing(pilots, 'is', 'are')} of a pilot."
        )
        if p_values := [p for p in holm([p for _, p in every]) if p is not None]:
            lines.append(f"Adjusted for all of them together, the smallest p is {min(p_values):.3f}.")
    if unknown := sorted(comparisons.keys() - known.keys()):
        lines.append(f"Reported by an earlier version, without adjustment: {', '.join(map(for_markdown, unknown))}.")
    return "\n".join(lines)


def _comparisons_of(report):
    """Return the comparisons beside a report, (verdict, p) each; None where an earlier version has written none."""
    path = report.with_name("comparisons.json")
    if not path.exists():
        return None
    try:
        return [(str(record["verdict"]), None if record["p"] is None else float(record["p"])) for record in read_json(path)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error!r}; the study's command with --report writes it anew") from error


def _text_of(report):
    try:
        return read_text(report)
    except OSError as error:
        raise UserError(f"{report} can't be read: {error.strerror}") from error


def _write_pictures(reports, folder):
    for report in reports:
        for picture in report.parent.glob("*.png"):
            write_file(folder / f"{report.parent.name}-{picture.name}", read_regular(picture))

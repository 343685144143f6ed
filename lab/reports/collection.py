"""One file of results out of the reports of several studies."""

import os
import re
from pathlib import Path
from urllib.parse import quote

from foundation.errors import UserError
from foundation.escaping import for_markdown, tame_markdown
from foundation.files import read_regular, read_text, write_file

PICTURES = Path("docs", "results")  # beside the file
HEADER = """# Results

Made by `{command}` from finished studies; each section names its command, its data and its machine.
Epochs are chosen on val, test is measured once. Intervals are 95 % intervals of Student's t over seeds; with few seeds they are
wide, which is the truth about few seeds.
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
    sections = [HEADER.format(command=" ".join(["python study.py", *filter(None, [only]), "--results", target.name]))]
    for report in reports:
        name = report.parent.name
        text = re.sub(r"^#", "##", tame_markdown(_text_of(report)), flags=re.MULTILINE)
        place = f"{PICTURES.as_posix()}/{quote(os.fsencode(name))}"
        text = re.sub(r"\((\w+\.png)\)", lambda picture, place=place: f"({place}-{picture[1]})", text)
        sections.append(text.replace("## ", f"## {for_markdown(name)}: ", 1))
    write_file(target, "\n".join(sections).encode())
    _write_pictures(reports, target.parent / PICTURES)
    return [report.parent.name for report in reports]


def _text_of(report):
    try:
        return read_text(report)
    except OSError as error:
        raise UserError(f"{report} can't be read: {error.strerror}") from error


def _write_pictures(reports, folder):
    for report in reports:
        for picture in report.parent.glob("*.png"):
            write_file(folder / f"{report.parent.name}-{picture.name}", read_regular(picture))

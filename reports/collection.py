"""One file of results out of the reports of several studies."""

import re
from pathlib import Path

from errors import UserError
from training.run import write_whole

PICTURES = Path("docs", "results")  # beside the file
HEADER = """# Results

Made by `python study.py --results {name}` from finished studies; each section names its command, its data and its machine.
Epochs are chosen on val, test is measured once. Intervals are 95 % intervals of Student's t over seeds; with two seeds they are
wide, which is the truth about two seeds.
"""


def collect(studies, target):
    """Writes the reports below the folder `studies` to the Markdown file `target`, pictures to docs/results/ beside it.

    Returns the names of the studies. Raises UserError where there is no report.
    """
    reports = sorted(studies.glob("*/report.md"))
    if not reports:
        raise UserError(f"no study has a report in {studies}: run one first, such as python study.py depth --scale smoke")
    pictures = target.parent / PICTURES
    pictures.mkdir(parents=True, exist_ok=True)
    sections = [HEADER.format(name=target.name)]
    for report in reports:
        name = report.parent.name
        text = re.sub(r"^#", "##", report.read_text(), flags=re.MULTILINE)
        sections.append(re.sub(r"\((\w+\.png)\)", rf"({PICTURES.as_posix()}/{name}-\1)", text.replace("## ", f"## {name}: ", 1)))
        for picture in report.parent.glob("*.png"):
            write_whole(pictures, f"{name}-{picture.name}", picture.read_bytes())
    write_whole(target.parent, target.name, "\n".join(sections).encode())
    return [report.parent.name for report in reports]

"""The generated parts of the manual, by name, and the pages that hold them.

A page holds a part between the lines `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import re

from dispatcher import list_models
from lab import studies
from lab.exporting.formats import FORMATS
from lab.manual.markdown import code, table
from lab.manual.models_table import models_table
from lab.manual.results import scoreboard_table
from lab.manual.settings_table import settings_table
from lab.reports.pictures import PICTURES

PART = re.compile(r"(?<=<!-- generated: )(\w+)( -->\n).*?(?=^<!-- end -->)", re.DOTALL | re.MULTILINE)


def studies_table() -> str:
    return table(("study", "question"), [(code(name), studies.find(name).question) for name in studies.names()])


def figures_table() -> str:
    return table(("figure", "shows", "how many runs"), [(code(name), each.what, each.runs) for name, each in PICTURES.items()])


def formats_table() -> str:
    rows = [(code(name), code(each.file), each.what, code(each.loads)) for name, each in FORMATS.items()]
    return table(("format", "file", "what it is", "how it is loaded"), rows)


PARTS = {
    "settings": settings_table,
    "models": lambda: models_table(list_models()),
    "studies": studies_table,
    "figures": figures_table,
    "formats": formats_table,
    "scoreboard": scoreboard_table,
}


def renewed(page, parts=PARTS) -> str:
    """Return the text of a page with its generated parts rendered anew by functions, {name: function}; others stay."""
    return PART.sub(lambda part: f"{part[1]}{part[2]}{parts[part[1]]()}\n" if part[1] in parts else part[0], page)

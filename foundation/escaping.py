"""Words of strangers, such as names of runs, files and classes: one function for each format that they are written into."""

import csv
import html
import io
import re

from foundation.errors import printable

# What begins a heading, a quotation, a list or a line across; what stands for markup within a line.
BEGINS = re.compile(r"^(\d*)(>|[#+=-](?!\d)|(?<=\d)[.)](?=\s|$))")
SPECIAL = re.compile(r"[\\`*<|~$]|\](?=[(\[:])|&(?=[#\w])|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|(?<=\S)@(?=\S)")
WITHIN = re.compile(r"(?<=:)(?=[\w/+-])|(?<=www)(?=\.)|(?=@)|(?<=[-<])(?=[->])", re.I)


def for_markdown(text, begins_line=False) -> str:
    """Return the text as Markdown (CommonMark and GitHub's) that shows it: no link, no picture, no HTML, no table cell's end.

    At the beginning of a line, of a paragraph or in a list, it begins no heading or list either.
    """
    text = SPECIAL.sub(r"\\\g<0>", printable(" ".join(str(text).split())))
    return BEGINS.sub(r"\1\\\2", text) if begins_line else text


def code_for_markdown(text) -> str:
    """Return the text as a code span, also within a table."""
    text = printable(" ".join(str(text).split()))
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text[:1] in ("`", " ", "") or text[-1:] in ("`", " ") else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")


def for_html(text) -> str:
    """Return the text as HTML, also within an attribute. No-break spaces stay, because our own texts need them: 88 %."""
    return "\n".join(html.escape("\xa0".join(map(printable, line.split("\xa0")))) for line in str(text).splitlines())


def for_streamlit(text) -> str:
    """Return the text as Streamlit's Markdown that shows it: no link, no picture, no emphasis, no icon, no other dash.

    Streamlit looks for addresses, icons and arrows in what Markdown left as text, where a backslash no longer protects: there
    a word joiner, which has no width, stands within.
    """
    text = WITHIN.sub("\u2060", printable(" ".join(str(text).split())))
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~:$&])", r"\\\1", text)


def csv_text(rows) -> str:
    """Return rows of texts and numbers as the text of a CSV file, whose texts no spreadsheet computes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(for_csv, row) for row in rows)
    return text.getvalue()


def for_csv(value):
    """Return a cell's value; a text that a spreadsheet would compute begins with an apostrophe, which makes it a text."""
    if not isinstance(value, str):
        return value
    value = value.replace("\r", " ")  # some readers end a row there, which the writer does not know
    is_computed = value[:1] == "\t" or value.lstrip()[:1] in ("=", "+", "-", "@")
    return f"'{value}" if is_computed and value.strip() else value

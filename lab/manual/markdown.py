"""Tables in Markdown."""


def table(columns, rows) -> str:
    """Return a table with one line for each row; a `|` within a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def code(text) -> str:
    """Return a text as code; an empty text stays empty."""
    return f"`{text}`" if text else ""

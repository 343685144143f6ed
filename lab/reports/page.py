"""A web page, all in one file, from blocks."""

import base64

from foundation.escaping import for_html

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h1, h2, p, li { overflow-wrap: anywhere; } table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } .scroll { overflow-x: auto; margin: 1rem 0; }
img { max-width: 100%; height: auto; }
.figure img { width: 100%; min-width: 40rem; max-width: none; }
pre { background: #f5f5f5; padding: 0.6rem; overflow-x: auto; }
"""


def page(title, blocks, style="") -> str:
    """Return the page of blocks (kind, content), with more style where its own kinds need it.

    Kinds: "heading" (the first is the page's), "text" and "code" (a string), "list" (strings), "table" (rows of strings, the
    first its head), "pictures" ({name: PNG}), and "html" (markup whose text is escaped already).
    """
    parts = []
    for number, (kind, content) in enumerate(blocks):
        parts.append(f"<h1>{for_html(content)}</h1>" if kind == "heading" and number == 0 else MARKUP[kind](content))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{for_html(title)}</title>'
    body = "".join(parts)
    text = f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}{style}</style></head><body>{body}</body></html>\n'
    return text.encode(errors="replace").decode()  # names that are not UTF-8 can't be shown as they are


def picture(name, png) -> str:
    """Return an image that stands in the page itself."""
    return f'<img alt="{for_html(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _table(rows):
    tagged = [("th" if i == 0 else "td", row) for i, row in enumerate(rows)]
    head, *rest = ["".join(f"<{tag}>{for_html(cell)}</{tag}>" for cell in row) for tag, row in tagged]
    body = "".join(f"<tr>{row}</tr>" for row in rest)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


MARKUP = {
    "heading": lambda text: f"<h2>{for_html(text)}</h2>",
    "text": lambda text: f"<p>{for_html(text)}</p>",
    "code": lambda text: f"<pre>{for_html(text)}</pre>",
    "list": lambda items: "<ul>" + "".join(f"<li>{for_html(item)}</li>" for item in items) + "</ul>",
    "table": _table,
    "pictures": lambda pictures: "".join(
        f'<div class="scroll figure">{picture(name, png)}</div>' for name, png in pictures.items()
    ),
    "html": str,
}

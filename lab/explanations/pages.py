"""Pages of maps for a browser: wide or narrow, each all in one file."""

import re

from matplotlib.colors import to_hex

from foundation.escaping import for_html
from foundation.grammar import agreeing
from lab.explanations.drawing import COLOURS, enlarged_image, overlay, png, verdict
from lab.reports.page import page, picture

LEGEND = ", ".join(to_hex(COLOURS(i / 8)) for i in range(9))
STYLE = f"""
.cards {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1rem; }}
.card {{ border: 1px solid #ddd; border-radius: 6px; padding: 0.6rem; }}
.views {{ display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 0.5rem; font-size: 0.85rem;
  line-height: 1.35; overflow-wrap: break-word; }}
.views img {{ width: 100%; display: block; border-radius: 3px; margin-bottom: 0.3rem; }}
.views b {{ font-weight: 600; }} .right b::before {{ content: "\\2713\\00a0"; }} .wrong b::before {{ content: "\\2717\\00a0"; }}
.legend {{ display: flex; gap: 0.5rem; align-items: center; font-size: 0.85rem; margin: 1rem 0; }}
.legend i {{ flex: 0 1 12rem; height: 0.8rem; background: linear-gradient(90deg, {LEGEND}); }}
.pages {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(10rem, 45%), 1fr)); gap: 1rem; padding: 0; }}
.pages a {{ color: inherit; text-decoration: none; line-height: 1.35; overflow-wrap: break-word; min-width: 0; }}
.maps {{ display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: 0.3rem; }}
.pages b {{ text-decoration: underline; }}
.pages img {{ width: 100%; display: block; border-radius: 3px; }} .pages small {{ display: block; color: #555; }}
.wide img {{ min-width: 44rem; }} .scroll + .scroll {{ margin-top: 1.5rem; }}
"""
LEGEND_BLOCK = "html", '<p class="legend">no evidence <i></i> strongest evidence in the image</p>'


def class_page(group, count, networks, explanation) -> str:
    """Return the page of a class: its right answers, then its wrong ones."""
    back = "html", '<p><a href="index.html">all classes</a></p>'
    blocks = [("heading", group.name), back, ("text", explanation), LEGEND_BLOCK]
    shortages = list(group.shortages(count))
    blocks += [("list", shortages)] if shortages else []
    for kind, examples in (("Right", group.right), ("Wrong", group.wrong)):
        if examples:
            blocks += [("heading", f"{kind} answers"), cards(examples, networks)]
    return page(group.name, blocks, STYLE)


def pictures_page(examples, networks, explanation) -> str:
    """Return the page of a user's own pictures."""
    title = f"What the {agreeing(len(networks), 'network looks', 'networks look')} at"
    return page(title, [("heading", title), ("text", explanation), LEGEND_BLOCK, cards(examples, networks)], STYLE)


def breakable(text) -> str:
    """Return a name as HTML that breaks between words, or within a path after one of `/`, `_` and `-`."""
    return re.sub(r"(?<=[^\s/_-])([/_-]+)(?=[^\s/_-])", r"\1<wbr>", for_html(text))


def cards(examples, networks):
    """Return the block of examples: each its image, then its maps, side by side."""
    return "html", f'<div class="cards">{"".join(_card(example, len(networks) > 1) for example in examples)}</div>'


def _card(example, names_networks):
    lines = [example.name] + ([f"true class: {example.true}"] if example.true is not None else [])
    views = [_view("", lines, enlarged_image(example.image), "image")]
    for answer in example.answers:
        kind = "" if example.true is None else "right" if answer.predicted == example.true else "wrong"
        first, *others = verdict(example, answer)
        lines = ([answer.network] if names_networks else []) + others
        views.append(_view(kind, lines, overlay(example.image, answer.map), f"map towards {answer.towards}", first))
    return f'<figure class="card" style="margin: 0"><div class="views">{"".join(views)}</div></figure>'


def _view(kind, lines, image, alt, strong=None):
    text = [f"<b>{breakable(strong)}</b>"] if strong else []
    text += [breakable(line) for line in lines]
    return f'<div class="{kind}">{picture(alt, png(image))}{"<br>".join(text)}</div>'


def wide_picture(name, data):
    """Return the block of a figure that keeps a readable size on a narrow screen, where it scrolls."""
    return "html", f'<div class="scroll wide">{picture(name, data)}</div>'


def links(groups, files, networks):
    """The block that leads to the classes' pages, `files` by the classes' names, with the maps of all networks of an image."""
    items = []
    for group in groups:
        pictures = []
        for example in (group.right + group.wrong)[:1]:
            for name, answer in zip(networks, example.answers, strict=True):
                caption = f"<small>{breakable(name)}</small>" if len(networks) > 1 else ""
                pictures.append(f"<span>{picture(group.name, png(overlay(example.image, answer.map)))}{caption}</span>")
        image = f'<span class="maps">{"".join(pictures)}</span>'
        numbers = f"{group.right_count} of {group.right_count + group.wrong_count} right on val"
        text = f"<b>{breakable(group.name)}</b><small>{numbers}</small>"
        items.append(f'<a href="{files[group.name]}.html">{image}{text}</a>')
    return "html", f'<div class="pages">{"".join(items)}</div>'

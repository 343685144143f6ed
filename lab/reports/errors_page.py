"""Page of errors: a table of classes, and the images themselves, all in one file."""

import io

import numpy as np
from PIL import Image

from foundation.escaping import for_html
from foundation.grammar import counted
from foundation.sampling import evenly_spaced
from lab.reports import cells
from lab.reports.comparisons import p_in_words
from lab.reports.errors import FALSE_DISCOVERIES, Disagreement, arms_of, errors_as_csv, shown
from lab.reports.page import page, picture
from lab.runs.contents import classes_of

SHOWN = 120  # images of one direction on the page; the table errors.csv has all
HEIGHT = 96  # pixels to which small images are enlarged
STYLE = """
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(7.5rem, 45%), 1fr)); gap: 0.8rem; margin: 1rem 0; }
.images figure { margin: 0; font-size: 0.8rem; line-height: 1.3; overflow-wrap: anywhere; }
.images img { width: 100%; display: block; border-radius: 3px; margin-bottom: 0.2rem; image-rendering: pixelated; }
"""
READING = (
    "An image counts if all runs of one network name it correctly and no run of the other does. McNemar's exact test asks whether"
    " such images could be split in halves between the two by chance. Of many classes some differ by chance: of the classes with"
    f" an adjusted p (Benjamini & Hochberg) of at most {FALSE_DISCOVERIES:g}, at most {100 * FALSE_DISCOVERIES:g} % are expected"
    " to be false. It is a test of these trained networks on other images, not of what other seeds would do."
)


def write_errors(runs, options):
    """Return {file's ending: bytes} of the page and the table of errors of finished runs on the split of `options`."""
    arms, images = arms_of(runs, options.split)
    class_names = [entry["name"] for entry in classes_of(runs[0].run)]
    show = _Images(runs[0], options.split, images)
    seeds = ", ".join(f"{arm.name} ({counted(len(arm.answers), 'run')})" for arm in arms)
    title = f"Errors on {options.split}"
    blocks: list[tuple[str, object]] = [
        ("heading", title),
        ("text", f"{seeds}; {counted(len(images), 'image')} that all runs have."),
    ]
    if len(arms) == 1:
        blocks += _errors_of_one(arms[0], class_names, show)
    else:
        blocks += [("text", READING)]
        for other in arms[1:]:
            blocks += _disagreement(Disagreement(other, arms[0]), class_names, show)
    table = errors_as_csv(arms, images, class_names)
    return {"html": page(title, blocks, STYLE).encode(), "csv": table.encode(errors="surrogateescape")}


def _disagreement(both, class_names, show):
    """Yield the blocks of two arms: the table of classes, then the images of each direction."""
    first, other = both.first, both.other
    yield "heading", f"{first.name} and {other.name}"
    right, wrong = len(both.only_first), len(both.only_other)
    yield (
        "text",
        f"{counted(right, 'image')} only {first.name} has right, {counted(wrong, 'image')} only {other.name}: McNemar's p"
        f" {p_in_words(both.p)}. In all seeds both have {int((first.is_right & other.is_right).sum()):,} right and"
        f" {int((first.is_wrong & other.is_wrong).sum()):,} wrong.",
    )
    rows = [["class", "images", f"only {first.name}", f"only {other.name}", "p", "p among classes"]]
    for each in both.by_class():
        counts = [cells.number(count) for count in (each.images, each.only_first, each.only_other)]
        rows.append([class_names[each.label], *counts, p_in_words(each.p), p_in_words(each.adjusted)])
    yield "table", rows
    for places, right_arm, wrong_arm in ((both.only_first, first, other), (both.only_other, other, first)):
        if len(places):
            yield "heading", f"Only {right_arm.name} is right"
            yield from show.blocks(places, wrong_arm, class_names)


def _errors_of_one(arm, class_names, show):
    """Yield the blocks of a single network: the images that no run of it has right."""
    places = np.flatnonzero(arm.is_wrong)
    places = places[np.argsort(arm.labels[places], kind="stable")]
    share = f"{100 * len(places) / len(arm.labels):.2f} %"
    which = "it has wrong" if len(arm.answers) == 1 else "none of its runs has right"
    yield "text", f"{counted(len(places), 'image')} ({share}) {which}."
    yield from show.blocks(places, arm, class_names)


class _Images:
    """Images of a run's data set by their identities, loaded when they are shown."""

    def __init__(self, run, split, images):
        self.run, self.split, self.images = run, split, images

    def blocks(self, places, wrong, class_names):
        """Yield the images at these places, with their class and what `wrong` takes them for; evenly spaced if they are many."""
        chosen = places[evenly_spaced(len(places), SHOWN)]
        if len(chosen) < len(places):
            yield "text", f"{len(chosen)} of {len(places):,} are shown, evenly spaced over the classes."
        found = self.run.images_of(self.split, [self.images[place] for place in chosen])
        figures = []
        for place, pixels in zip(chosen, found, strict=True):
            true, answer = (class_names[label] for label in (wrong.labels[place], wrong.answer(place)))
            caption = (
                f"<b>{for_html(true)}</b><br>taken for {for_html(answer)}<br><small>{for_html(shown(self.images[place]))}</small>"
            )
            figures.append(f"<figure>{picture(true, _png(pixels))}{caption}</figure>")
        yield "html", f'<div class="images">{"".join(figures)}</div>'


def _png(pixels):
    """Return an image `(H, W, C)` uint8 as PNG, small ones enlarged."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    factor = max(HEIGHT // image.height, 1)
    data = io.BytesIO()
    image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(data, "PNG")
    return data.getvalue()

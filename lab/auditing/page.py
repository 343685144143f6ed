"""Page of an audit: the findings first, then every part with its pictures, all in one file."""

import io

import numpy as np
from PIL import Image

from datasets.class_counts import counts_of
from foundation.escaping import for_html
from foundation.grammar import counted
from foundation.randomness import generator
from lab.auditing.findings import in_percent
from lab.reports.page import page, picture

SIDE = 112  # pixels of a picture on the page
SAMPLED, CLASSES = 6, 40  # pictures of a class in the sample sheet, and classes
PAIRS, ERRORS = 40, 120  # pairs of a kind, and label errors, that are shown; look-at.csv has all
STYLE = """
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: 0.8rem; margin: 1rem 0; }
.images figure { margin: 0; font-size: 0.8rem; line-height: 1.3; overflow-wrap: anywhere; }
.images figure.pair { grid-column: span 2; } .pair div { display: grid; grid-template-columns: 1fr 1fr; gap: 0.2rem; }
.images img { width: 100%; display: block; border-radius: 3px; margin-bottom: 0.2rem; }
.sheet { display: grid; grid-template-columns: 11rem repeat(6, 1fr); gap: 0.3rem; font-size: 0.8rem; align-items: center; }
.sheet img { width: 100%; display: block; } .sheet b { overflow-wrap: anywhere; }
@media (max-width: 40rem) { .sheet { grid-template-columns: repeat(6, 1fr); } .sheet b { grid-column: 1 / -1; } }
"""
ABOUT_REPEATS = (
    "Equal: the pixels, decoded and resized, are the same. Near duplicates were found by perceptual hashing (pHash with numbers "
    "instead of signs), also resized, compressed, brighter, mirrored or cropped by up to 5 % on each side. A picture of test "
    "that the network has seen in train measures its memory."
)
ABOUT_SHORTCUTS = (
    "A forest of trees learned the class from one kind of fact alone. Its answers are cross-validated, and pictures that repeat "
    "one another stay together. Accuracy is the mean over classes; the intervals hold for all kinds together (95 %). Where it is "
    "above chance a network can use it too, and fail on pictures from elsewhere. Some facts belong to the matter: water "
    "birds have blue borders."
)
ABOUT_LABELS = (
    "Networks that had not seen these pictures take them confidently for another class (confident learning, Northcutt et al. "
    "2021). The most probable errors come first. Look before you change a label: a picture may be hard rather than wrong."
)


def audit_page(findings) -> str:
    """Return the page of Findings as HTML."""
    pictures = findings.pictures
    total = counted(len(pictures), "picture")
    blocks = [("heading", f"Audit of {pictures.dataset.name}"), ("text", f"{total} in {pictures.dataset.classes} classes.")]
    found = list(findings.sentences())
    blocks += [("heading", "What to look at"), ("list", found) if found else ("text", "Nothing was found.")]
    if findings.accuracy:
        blocks += [
            ("heading", f"Accuracy of {findings.run} without known pictures"),
            ("table", _accuracy_rows(findings.accuracy)),
        ]
    if findings.label_errors is not None:
        agreement = f"They agree with {100 * findings.about_labels['agreement']:.1f} % of all labels."
        blocks += [("heading", "Probable label errors"), ("text", f"{ABOUT_LABELS} {agreement}"), _label_errors(findings)]
    blocks += [("heading", "Repeated pictures"), ("text", ABOUT_REPEATS), ("table", _repeat_rows(findings.repeats))]
    for name, pairs in (("Equal pictures", findings.repeats.equal), ("Near duplicates", findings.repeats.near)):
        blocks += [("heading", name), _pairs(pictures, pairs)] if len(pairs.first) else []
    blocks += [("heading", "Shortcuts"), ("text", ABOUT_SHORTCUTS), ("table", _shortcut_rows(findings.shortcuts))]
    blocks += [("heading", "Classes"), ("table", _class_rows(pictures.dataset))]
    blocks += [("heading", "Files"), ("table", _size_rows(findings.sizes))] if findings.sizes else []
    blocks += [("list", list(pictures.dataset.notes))] if pictures.dataset.notes else []
    blocks += [("heading", "Samples"), _sheet(pictures)]
    return page(f"Audit of {pictures.dataset.name}", blocks, STYLE)


def _accuracy_rows(accuracy):
    rows = [["split", "pictures", "accuracy", "without known pictures", "accuracy"]]
    for split, found in accuracy.items():
        cells = [cell for measured in (found["with"], found["without"]) for cell in _accuracy_cells(measured)]
        rows.append([split, *cells])
    return rows


def _accuracy_cells(measured):
    if measured is None:
        return ["0", "none is left"]
    low, high = measured["interval"]
    return [f"{measured['images']:,}", f"{100 * measured['accuracy']:.2f} % ({100 * low:.2f} to {100 * high:.2f} %)"]


def _repeat_rows(repeats):
    equal, near = repeats.count(repeats.equal), repeats.count(repeats.near)
    return [["pairs", "equal", "near duplicates"], *([name, f"{equal[name]:,}", f"{near[name]:,}"] for name in equal)]


def _shortcut_rows(shortcuts):
    rows = [["fact", "accuracy by it alone", "chance", "tells classes"]]
    for each in shortcuts:
        measured = in_percent(each) if each.accuracy is not None else each.why_not
        rows.append([each.kind, measured, f"{100 * each.chance:.1f} %", "yes" if each.is_found else "no"])
    return rows


def _class_rows(dataset):
    rows = [["class", *dataset.splits, "share"]]
    counts = counts_of(dataset)
    for name, own in zip(dataset.class_names, counts, strict=True):
        rows.append([name, *(f"{count:,}" for count in own), f"{100 * own.sum() / counts.sum():.1f} %"])
    return rows


def _size_rows(files):
    sides = {"width": [f.width for f in files], "height": [f.height for f in files], "kB": [f.size / 1000 for f in files]}
    rows = [["", "smallest", "quarter", "median", "three quarters", "largest"]]
    rows += [[name, *(f"{value:,.0f}" for value in np.quantile(own, (0, 0.25, 0.5, 0.75, 1)))] for name, own in sides.items()]
    kinds, counts = np.unique([file.kind for file in files], return_counts=True)
    return rows + [[str(kind), counted(int(count), "file"), "", "", "", ""] for kind, count in zip(kinds, counts, strict=True)]


def _pairs(pictures, pairs):
    """Return the block of pairs: those of two classes and between splits first, then the least alike."""
    labels, split = pictures.labels, pictures.split
    is_harmless = (labels[pairs.first] == labels[pairs.second]).astype(int) + (split[pairs.first] == split[pairs.second])
    order = np.lexsort((pairs.likeness, is_harmless))[:PAIRS]
    figures = []
    for place in order:
        rows = pairs.first[place], pairs.second[place]
        images = "".join(picture(pictures.names[row], _png(image)) for row, image in zip(rows, pictures.read(rows), strict=True))
        lines = [f"{pictures.names[row]} ({pictures.split_name(row)}, {pictures.class_name(row)})" for row in rows]
        mirrored = ", mirrored" if pairs.is_mirrored[place] else ""
        text = "<br>".join(map(for_html, [*lines, f"likeness {pairs.likeness[place]:.2f}{mirrored}"]))
        figures.append(f'<figure class="pair"><div>{images}</div>{text}</figure>')
    return "html", f"<p>{len(order)} of {counted(len(pairs.first), 'pair')}</p>" + f'<div class="images">{"".join(figures)}</div>'


def _label_errors(findings):
    pictures, shown = findings.pictures, findings.label_errors[:ERRORS]
    figures = []
    for each, image in zip(shown, pictures.read([each.row for each in shown]), strict=True):
        suggested = pictures.dataset.class_names[each.suggested]
        lines = [
            f"taken for {suggested} ({100 * each.probability:.0f} %)",
            f"{pictures.names[each.row]} ({pictures.split_name(each.row)})",
        ]
        name = pictures.class_name(each.row)
        figures.append(
            f"<figure>{picture(name, _png(image))}<b>{for_html(name)}</b><br>{'<br>'.join(map(for_html, lines))}</figure>"
        )
    count = f"<p>{len(shown)} of {counted(len(findings.label_errors), 'picture')}</p>"
    return "html", count + f'<div class="images">{"".join(figures)}</div>'


def _sheet(pictures):
    cells = []
    for label, name in list(enumerate(pictures.dataset.class_names))[:CLASSES]:
        own = generator(0, "sample sheet", label).permutation(np.flatnonzero(pictures.labels == label))[:SAMPLED]
        images = [picture(pictures.names[row], _png(image)) for row, image in zip(own, pictures.read(own), strict=True)]
        cells += [f"<b>{for_html(name)}</b>", *images, *["<i></i>"] * (SAMPLED - len(images))]
    return "html", f'<div class="sheet">{"".join(cells)}</div>'


def _png(pixels):
    """Return an image `(H, W, C)` uint8 as PNG of SIDE pixels."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    enlarging = Image.Resampling.NEAREST if image.width < SIDE // 2 else Image.Resampling.BILINEAR
    data = io.BytesIO()
    image.resize((SIDE, SIDE), enlarging).save(data, "PNG")
    return data.getvalue()

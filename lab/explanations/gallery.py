"""Galleries: pages and figures of networks' answers."""

import re
from dataclasses import asdict

from foundation import backend
from foundation.errors import printable
from foundation.files import as_json, write_whole
from foundation.grammar import agreeing, listed
from foundation.paths import short_name
from foundation.style import image_of
from lab.explanations.drawing import draw_measurement, draw_overview, draw_sheet
from lab.explanations.examples import TOWARDS, answers_as_csv, examples_of, groups_of, pictures, shortages_of
from lab.explanations.measurement import measure
from lab.explanations.pages import LEGEND_BLOCK, STYLE, class_page, links, pictures_page, wide_picture
from lab.reports.page import page

LONGEST_NAME = 100  # bytes of a foreign name in a file's name; systems allow some 250 bytes


class Gallery:
    """Pages of one command: its networks, of which the first decides what is right and wrong, and the class of the maps."""

    def __init__(self, networks, towards, command):
        self.networks, self.towards, self.command = networks, towards, command
        others = short_name("-".join(network.run.name for network in networks[1:]), 2 * LONGEST_NAME)
        self.folder = networks[0].run.folder(f"explain/beside-{others}" if others else "explain")

    @property
    def explanation(self) -> str:
        first = self.networks[0]
        layers = ", ".join(first.layer_names) if first.layer_names else "the last feature map"
        towards = TOWARDS.get(self.towards, self.towards.removeprefix("class:"))
        return f"Maps by {first.method} of {layers}, towards {towards}; weights of the best epoch on val."

    def show_pictures(self, files):
        """Write a page and a sheet of a user's own pictures; return the page's path."""
        dataset = self.networks[0].dataset
        split = pictures(files, *dataset.image_shape[1:], ranges=dataset.ranges)
        examples = examples_of(self.networks, split, list(map(str, files)), self.towards)
        self._write("pictures.html", pictures_page(examples, self.networks, self.explanation).encode())
        rows = [("", examples[i : i + 5]) for i in range(0, len(examples), 5)]
        self._write_figure("pictures", draw_sheet(self.explanation, rows, self.networks))
        return self.folder / "pictures.html"

    def show_classes(self, class_names, count, sample):
        """Write a page and a sheet for each class, an index, and the numbers of a sample of val; return the index's path."""
        groups = groups_of(self.networks, class_names, count, self.towards)
        files = {group.name: self._file_of(group) for group in groups}
        for shortage in shortages_of(groups, count):
            print(f"note: {printable(shortage)}")
        for group in groups:
            self._write(f"{files[group.name]}.html", class_page(group, count, self.networks, self.explanation).encode())
            rows = [(label, shown) for label, shown in (("right", group.right), ("wrong", group.wrong)) if shown]
            if rows:
                self._write_figure(files[group.name], draw_sheet(group.name, rows, self.networks))
        measurements = [measure(network, self.towards, sample) for network in self.networks]
        blocks: list[tuple[str, object]] = [*self._introduction(groups, files, count)]
        for network, measurement in zip(self.networks, measurements, strict=True):
            blocks += self._numbers(network, measurement)
        self._write("index.html", page(self._title, blocks, STYLE).encode())
        found = {network.run.name: record_of(found) for network, found in zip(self.networks, measurements, strict=True)}
        record = {"command": self.command, "backend": backend.name(), "networks": found}
        self._write("answers.csv", answers_as_csv(self.networks).encode(errors="surrogateescape"))
        self._write("results.json", as_json(record))
        return self.folder / "index.html"

    def _file_of(self, group):
        """Return the name of a class's page and sheet, without ending.

        It holds the label, because characters that do not belong in a file name are left out of the class's name.
        """
        label = self.networks[0].dataset.class_names.index(group.name)
        words = re.sub(r"[^A-Za-z0-9]+", "-", group.name).strip("-").lower()
        return f"class-{label:02d}-{words[:LONGEST_NAME]}"

    @property
    def _title(self):
        return f"What {listed(self._names)} {agreeing(len(self.networks), 'looks', 'look')} at"

    @property
    def _names(self):
        return [network.run.name for network in self.networks]

    def _introduction(self, groups, files, count):
        yield "heading", self._title
        yield "code", self.command
        yield "text", f"{self.explanation} Of each class the first {count} right and {count} wrong answers on val."
        yield LEGEND_BLOCK
        yield links(groups, files, self._names)
        shortages = shortages_of(groups, count)
        if shortages:
            yield "list", shortages
        yield "heading", "All at once"
        yield wide_picture(
            "right and wrong answers of every class", self._write_figure("index", draw_overview(groups, count, self._names))
        )

    def _numbers(self, network, found):
        file = f"numbers-{short_name(network.run.name, 2 * LONGEST_NAME)}"
        figure = self._write_figure(file, draw_measurement(found, network.run.name))
        yield "heading", f"What the maps of {network.run.name} are like"
        empty = f" {found.empty} have no evidence for their class at all." if found.empty else ""
        yield "text", f"{found.images} images, evenly spaced over val; {100 * found.accuracy:.1f} % are right.{empty}"
        yield "table", comparison_table(found)
        yield "list", [comparison.sentence() for comparison in found.comparisons]
        yield "heading", f"How good the maps of {network.run.name} are"
        yield "table", measure_table(found)
        yield "table", likeness_table(found)
        yield "text", NOTE_ON_QUALITY
        yield wide_picture("deletion, insertion and random weights", figure)

    def _write(self, name, data):
        self.folder.mkdir(parents=True, exist_ok=True)  # created only here, so that a user's mistake leaves nothing behind
        write_whole(self.folder, name, data)

    def _write_figure(self, name, figure):
        """Write the figure as PNG; return the PNG's bytes."""
        data = image_of(figure, "png", dpi=110)
        self._write(f"{name}.png", data)
        return data


NOTE_ON_QUALITY = (
    "Intervals are of the mean over images. Pointing game: the map's largest value lies in the object's box. Deletion: the "
    "most important pixels go first; insertion: they come first; the area is under the probability of the class. Random "
    "weights: the maps of the same network before any training, of which nothing may be left in a map that explains."
)


def measure_table(found) -> list[list[str]]:
    rows = [["measure", "images", "trained", "random weights", "difference", "chance"]]
    for m in found.measures:
        chance = "-" if m.chance is None else f"{m.chance:.3f}"
        rows.append([m.name, str(m.trained.count), interval(m.trained), interval(m.random), interval(m.difference, "+"), chance])
    return rows


def likeness_table(found) -> list[list[str]]:
    rows = [["random weights", "rank correlation with the trained network's maps"]]
    return rows + [[f"from {part} on", interval(estimate)] for part, estimate in found.likeness.items()]


def comparison_table(found) -> list[list[str]]:
    rows = [["measure", "right answers", "wrong answers", "right minus wrong", "an even map"]]
    for c in found.comparisons:
        rows.append([c.name, interval(c.right), interval(c.wrong), interval(c.difference, "+"), f"{c.even:.3f}"])
    return rows


def interval(estimate, sign="") -> str:
    """Return text such as "0.812 [0.790, 0.834]", without the interval if a single image has none, or "-" for None."""
    if estimate is None:
        return "-"
    mean = f"{estimate.mean:{sign}.3f}"
    return mean + (" [{:{sign}.3f}, {:{sign}.3f}]".format(*estimate.interval, sign=sign) if estimate.interval else "")


def record_of(found):
    """Return a Measurement as a dict that JSON can hold."""
    return asdict(found) | {"curves": {name: curve.tolist() for name, curve in found.curves.items()}}

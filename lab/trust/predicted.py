"""Pictures of predict.py one after the other: a line or a row for each, refusals, perhaps a copy and a map."""

import sys
from pathlib import Path

from datasets.image_files import REFUSED
from foundation.errors import printable
from foundation.files import write_file
from lab.exporting.predict import as_csv, line
from lab.trust.sorting import Maps, SortedFolder, read_threshold

WIDEST = 60  # letters of a file's name in a line


class Predicted:
    """Takes pictures as `lab.exporting.predict.classify` yields them; `options` are predict.py's arguments. Raises UserError."""

    def __init__(self, network, files, options):
        self.options, self.top = options, min(options.top, len(network.class_names))
        self.width = min(max(len(printable(file)) for file in files), WIDEST)
        run = getattr(network, "run", None)
        self.threshold = read_threshold(options.threshold, run) if options.threshold else None
        self.copies = SortedFolder(options.sort_into, map(Path, options.images)) if options.sort_into else None
        self.maps = Maps(network) if options.explain else None
        self.rows, self.refusals, self.refused, self.unreadable, self.total = [], {}, 0, 0, len(files)

    def take(self, file, classes, fault):
        """Tell of a picture and its classes, the most probable first, or of the fault that it can't be read for."""
        if fault:
            self.unreadable += 1
            self.refusals[file] = f"unreadable: {fault}"
            print(f"error: {printable(file)}: {printable(fault)}", file=sys.stderr)
            self.rows += [(file, [])] if self.threshold is not None else []
            return
        name, probability = classes[0]
        refusal = f"below {self.threshold:g}" if self.threshold is not None and probability < self.threshold else ""
        if refusal:
            self.refused += 1
            self.refusals[file] = refusal
        self.rows.append((file, classes))
        if not self.options.csv:
            print(line(file, classes, self.width) + (f"  refused: {refusal}" if refusal else ""), flush=True)
        copy = self.copies.put(file, REFUSED if refusal else name) if self.copies else None
        if self.maps and copy:
            self.maps.write_beside(copy, file, name)
        elif self.maps:
            self.maps.show(file, classes, refusal)

    def finish(self):
        """Write the table and the page that were asked for; say where they are and how many pictures are refused."""
        if self.options.csv:
            write_file(self.options.csv, as_csv(self.rows, self.top, None if self.threshold is None else self.refusals))
            print(f"written to {self.options.csv}")
        if self.copies:
            print(f"copied to {self.options.sort_into}")
        if self.maps and self.maps.examples:
            print(f"open {self.maps.write_page()}")
        if self.threshold is not None:
            print(self._refused_in_words())

    def _refused_in_words(self):
        reasons = [f"{self.refused:,} below {self.threshold:g}"]
        reasons += [f"{self.unreadable:,} unreadable"] if self.unreadable else []
        return f"{self.refused + self.unreadable:,} of {self.total:,} pictures refused: {', '.join(reasons)}"

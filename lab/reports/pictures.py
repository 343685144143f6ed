"""Figures that `visualize.py` draws, one row each. A deep-learning library is imported only when a figure is drawn."""

from dataclasses import dataclass
from importlib import import_module

from foundation.errors import UserError, unknown
from foundation.paths import typed_path


@dataclass(frozen=True)
class Options:
    """Options of the figures that run a network."""

    split: str = "val"  # the images: train, val or test
    images: int = 1000  # for lesion, landscape, activations: maximum number, drawn by the seed
    seed: int = 0
    grid: int = 13  # for landscape: points a side
    reach: float = 1.0  # for landscape: extent along each direction, which is as long as the weights

    def __post_init__(self):
        """Raise a UserError for values that no figure could use."""
        if self.images < 1:
            raise UserError(f"--images is {self.images}, allowed: at least 1")
        if self.grid < 3 or self.grid % 2 == 0:
            raise UserError(f"--grid is {self.grid}, allowed: odd numbers from 3 on, so that the middle is where the weights are")
        if not 0 < self.reach < float("inf"):
            raise UserError(f"--reach is {self.reach}, allowed: more than 0")
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}, allowed: at least 0")


@dataclass(frozen=True)
class Picture:
    """A figure by the function that makes it, `(runs, options) -> Figure`, of "one" run, "two", or "any" number together.

    A page is made by a function that returns {ending: bytes of a file} instead.
    """

    what: str
    source: str  # module:function
    runs: str
    is_live: bool = False  # whether it also shows runs that are not finished
    ending: str = "png"  # of the file that is named to the user

    def draw(self, runs, options):
        module, _, function = self.source.partition(":")
        return getattr(import_module(f"lab.reports.{module}"), function)(runs, options)


PICTURES = {
    "training": Picture("what train.py draws, of several runs side by side", "training:draw_side_by_side", "any", is_live=True),
    "curves": Picture("accuracy and loss of runs over epochs", "curves:compare_runs", "any"),
    "gap": Picture("how far the accuracies of two runs are apart, over epochs", "curves:draw_gap", "two"),
    "rates": Picture("learning rate and images per second over epochs", "curves:draw_rates", "any"),
    "blocks": Picture("a network's stages and its residual blocks, layer by layer", "architecture_diagram:draw_blocks", "one"),
    "summary": Picture("a run on one sheet", "summary:draw_summary", "one"),
    "confusion": Picture("who is taken for whom, and the most-confused pairs", "confusion:draw_confusion_and_pairs", "one"),
    "errors": Picture(
        "images that one network has right and another wrong in all seeds, as a page",
        "errors_page:write_errors",
        "any",
        ending="html",
    ),
    "calibration": Picture("reliability diagram and expected calibration error", "calibration:draw_calibration", "any"),
    "gradients": Picture("norms of gradients by depth and epoch (--track-gradients)", "flow:draw_gradients", "any"),
    "weights": Picture("norms of weights by depth and epoch (--track-gradients)", "flow:draw_weights", "any"),
    "updates": Picture("steps in proportion to weights, by depth and epoch (--track-gradients)", "flow:draw_updates", "any"),
    "lesion": Picture("accuracy without each single block", "lesion:draw_lesions", "any"),
    "landscape": Picture("the loss around the weights, along two random directions", "landscape:draw_landscapes", "any"),
    "film": Picture("a run seen through its epochs, as a page (--film)", "film:write_film", "one", ending="html"),
    "activations": Picture("mean and deviation of what norms and blocks put out", "activations:draw_activations", "any"),
}


def check_name(name):
    if name not in PICTURES and name != "all":
        raise unknown("figure", name, [*PICTURES, "all"], "python visualize.py lists all")


def write_pictures(name, runs, options, folder_of):
    """Draw a figure, or "all" that apply, as PNG and SVG, or as a page; yield the path of every PNG and page.

    `folder_of(runs)` returns the folder for figures of these runs. With "all", a figure that does not apply yields the UserError
    that says why; a single figure raises it.
    """
    for chosen in PICTURES if name == "all" else [name]:
        picture = PICTURES[chosen]
        try:
            if picture.runs == "two" and len(runs) != 2:
                raise UserError(f"'{chosen}' compares two runs, received {len(runs)}")
            for group in [[run] for run in runs] if picture.runs == "one" else [runs]:
                yield _write(folder_of(group) / f"{chosen}.{picture.ending}", picture.draw(group, options))
        except UserError as error:
            if name != "all":
                raise
            yield error


def _write(path, drawn):
    """Write a figure as PNG and SVG, or the files of a page; return the path."""
    from foundation.files import write_file
    from foundation.style import image_of

    files = drawn if isinstance(drawn, dict) else {kind: image_of(drawn, kind, dpi=100) for kind in ("svg", "png")}
    for ending, data in files.items():
        write_file(path.with_suffix(f".{ending}"), data)
    return path


def folder_in(output_dir, figures_dir, together):
    """Return a function from the runs of a figure to its folder; figures of several runs have a folder called `together`."""

    def folder_of(runs):
        name = runs[0].name if len(runs) == 1 else together
        if figures_dir:
            return typed_path(figures_dir) / name
        return runs[0].run.folder("figures") if len(runs) == 1 else typed_path(output_dir) / "figures" / name

    return folder_of

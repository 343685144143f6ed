"""Looks at finished runs, each a figure with its numbers."""

from foundation.sampling import evenly_spaced
from lab.explanations.drawing import draw_sheet
from lab.explanations.examples import examples_of
from lab.explanations.network import networks_of
from lab.lessons.running import IS_SMALL
from lab.lessons.shown import Shown
from lab.reports.curves import compare_runs
from lab.reports.flow import QUANTITIES, draw_flow
from lab.reports.landscape import draw_measured
from lab.reports.landscape import measure as measure_landscapes
from lab.reports.lesion import draw_measured as draw_lesions
from lab.reports.lesion import measure as measure_all_lesions
from lab.reports.pictures import Options


def compare(*runs) -> Shown:
    """Draw accuracy and loss of runs over epochs; `measured` has each run's accuracy and loss by split."""
    measured = {run.name: {split: run.metrics[split] for split in ("train", "val", "test")} for run in runs}
    return Shown(compare_runs(runs, None), f"training curves of {_names(runs)}", measured)


def flow(*runs, quantity="gradient_norm") -> Shown:
    """Draw gradient norms by layer and epoch, or "weight_norm" or "update_ratio"; `measured` is {run: content of flow.json}."""
    measured = {run.name: run.flow for run in runs}
    return Shown(draw_flow(measured, quantity), f"{QUANTITIES[quantity]} by layer of {_names(runs)}", measured)


def lesions(*runs, images=1000) -> Shown:
    """Leave out one block at a time (Veit et al. 2016, section 4.1); `measured` is {run: Lesions}."""
    options = Options(images=min(images, 40) if IS_SMALL else images)
    measured = measure_all_lesions(runs, options)
    return Shown(draw_lesions(measured, runs, options), f"accuracy of {_names(runs)} without each block", measured)


def landscape(*runs, grid=9, images=200, reach=1.0) -> Shown:
    """Measure the loss around the weights in two random directions (Li et al. 2018); `measured` is {run: Landscape}."""
    options = Options(images=images, grid=grid, reach=reach)
    measured = measure_landscapes(runs, options)
    return Shown(draw_measured(measured, runs, options), f"loss around the weights of {_names(runs)}", measured)


def explain(*runs, count=5, method="grad-cam", towards="predicted") -> Shown:
    """Draw what networks look at in images of val, from its first to its last; `measured` are the Examples with their maps."""
    networks = networks_of([run.run for run in runs], method=method)
    split = networks[0].dataset.val
    split = split.select(evenly_spaced(len(split), count))
    examples = examples_of(networks, split, split.names("val"), towards, split.labels)
    figure = draw_sheet(f"Maps by {method}", [("", examples)], networks)
    return Shown(figure, f"maps by {method} of {count} images of val, of {_names(runs)}", examples)


def _names(runs):
    return " and ".join(run.name for run in runs)

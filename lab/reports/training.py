"""Training curves as train.py draws them, for several runs side by side, also for runs that still train."""

from callbacks.early_stopping import best_epoch
from callbacks.monitor import READING, labels_of_train, plot_training, width_of
from foundation.errors import UserError
from foundation.style import literal, sheet
from lab.runs.same_settings import in_words, settings_of

SHOWN = 6  # maximum number of settings named above a run's curves


def draw_side_by_side(runs, options):
    """Draw a row of curves for each run, with equal limits. Above each row are the run's name and the settings that differ."""
    for run in runs:
        if not run.history["epoch"]:
            raise UserError(f"run '{run.name}' has not finished an epoch yet")
    figure = sheet(max(width_of(run.history) for run in runs), 4.2 * len(runs), reading=f"{READING} All rows have the same axes.")
    rows = []
    for part, run, words in zip(figure.subfigures(len(runs), 1, squeeze=False)[:, 0], runs, differences(runs), strict=True):
        part.suptitle(literal(f"{run.name}{': ' if words else ''}{words}"), fontweight="bold")
        rows.append(plot_training(part, run.history, best_epoch(run.history, run.config.monitor), labels_of_train(run.config)))
    for column in zip(*((row[0], row[1], row[-1]) for row in rows), strict=True):
        _share_limits(column)
    if f1 := [row[2] for row in rows if len(row) > 3]:
        _share_limits(f1)
    return figure


def _share_limits(column):
    scales = {axes.get_yscale() for axes in column}
    for axes in column if len(scales) > 1 else ():
        axes.set(yscale="log", ylabel=max((other.get_ylabel() for other in column), key=len))
    for name in ("xlim", "ylim"):
        limits = [getattr(axes, f"get_{name}")() for axes in column]
        for axes in column:
            axes.set(**{name: (min(low for low, _ in limits), max(high for _, high in limits))})


def differences(runs) -> list[str]:
    """Return for each run, in words, its values of the settings in which the runs differ."""
    settings = [settings_of(run.config) for run in runs]
    names = [name for name in settings[0] if len({repr(one[name]) for one in settings}) > 1]
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [", ".join(f"{name} {in_words(name, one[name])}" for name in names[:SHOWN]) + more for one in settings]

"""A residual network and its plain twin, trained for as long as it takes to see the difference."""

from dataclasses import replace

from foundation.checks import check
from foundation.errors import RunFailure
from foundation.settings import Config
from lab.engines.fleet import LocalEngine, Planned, run_all
from lab.reports.live import ProgressLine

SETTINGS = {"dataset": "digits", "image_size": 16, "epochs": 6, "track_gradients": True}
MODELS = ("resnet32", "plain32")


def planned_runs(output_dir, weights_dir):
    """Return the demo's runs, whatever config.py says."""
    planned = []
    for model in MODELS:
        config = replace(Config(), model=model, run=f"demo-{model}", output_dir=output_dir, weights_dir=weights_dir, **SETTINGS)
        check(config)
        planned.append(Planned(config))
    return planned


def train_demo(output_dir, weights_dir):
    """Train what is not finished, both at once; return the names of the runs."""
    planned = planned_runs(output_dir, weights_dir)
    print(f"training {' and '.join(MODELS)} for {SETTINGS['epochs']} epochs on {SETTINGS['dataset']}", flush=True)
    run_all(planned, LocalEngine(len(planned)), report=ProgressLine("demo"), after_epoch=lambda: None)
    print()
    for each in planned:
        if each.failure:
            raise RunFailure(f"the demo's run {each.run.name} failed: {each.failure}")
    return [each.run.name for each in planned]

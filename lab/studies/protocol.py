"""Settings with which a study trains unless it sets others: those that Reslab is shipped with, whatever config.py says."""

from foundation.settings import FREE, SETTINGS

GIVEN = {"preset", "seed"}  # that a study gives its runs itself
# A study names its learning rate and batch size: what is chosen by the number of images would differ between its scales.
PROTOCOL = {name: each.shipped for name, each in SETTINGS.items() if name not in FREE | GIVEN} | {
    "init_lr": 0.1,
    "batch_size": 32,
}

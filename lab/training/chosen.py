"""Settings that are chosen by rule where a user left them at 0."""

import contextlib
from dataclasses import replace
from itertools import count

from callbacks.schedules import WITH_WARMUP
from foundation.errors import UserError
from lab.optimizers.rules import RULES
from lab.runs.contents import is_number

CHOSEN = ("batch_size", "init_lr", "warmup_epochs")
OPEN_ENDED = {"constant", "plateau"}  # schedules whose runs may be prolonged; their rates are those of runs of so many epochs:
USUAL_EPOCHS = 20
MANY_STEPS, LEAST = 400, 0.2  # in shorter runs the rate shrinks with the number of steps, to a fifth at least
FULL_BATCH = 32  # images; of smaller batches, whose gradients are noisier, the rate shrinks with their size (Goyal et al. 2017)
FEWEST_STEPS = SMALL_BATCH = 8  # an epoch of few images has so many steps, unless its batches would be smaller than this
WARM_UP_STEPS, WARM_UP_SHARE = 40, 0.2  # the rate rises over at least so many steps, or so much of a short run


def batch_size_for(images):
    """Return the batch size for a train split of so many images: FULL_BATCH, or smaller for few images.

    More steps make a network learn more from 50 images: docs/small-data.md. The last batch is at least half as large as the
    others: of two images, norms would take statistics too.
    """
    if images >= FEWEST_STEPS * FULL_BATCH:
        return FULL_BATCH
    size = -(-images // max(min(FEWEST_STEPS, images // SMALL_BATCH), 1))
    return next(size for size in count(size) if (images - 1) % size + 1 >= size / 2)


def with_batch_size(config, images):
    """Return a config for a train split of so many images, with a number for the batch size."""
    return config if config.batch_size else replace(config, batch_size=batch_size_for(images))


def choose(config, images):
    """Return a config for a train split of so many images, with a number for every setting that was left to us.

    A rate of the user's own is kept, and with it the warm-up, as they are.
    """
    config = with_batch_size(config, images)
    if config.init_lr:
        return config
    steps_per_epoch = -(-images // config.batch_size)
    steps = steps_per_epoch * (USUAL_EPOCHS if config.schedule in OPEN_ENDED else config.epochs)
    rule = RULES[config.optimizer]
    rate = rule.usual_rate
    if rule.rate_follows_steps:
        rate *= min(1.0, max(steps / MANY_STEPS, LEAST)) * min(1.0, config.batch_size / FULL_BATCH)
    warmup = config.warmup_epochs
    if warmup and config.schedule in WITH_WARMUP:
        warmup = max(warmup, min(WARM_UP_STEPS / steps_per_epoch, WARM_UP_SHARE * config.epochs))
    return replace(config, init_lr=float(f"{rate:.2g}"), warmup_epochs=float(f"{warmup:.3g}"))


def values_of(config, images):
    """Return {setting: number chosen for it}; empty where nothing was left to us."""
    chosen = choose(config, images)
    return {name: getattr(chosen, name) for name in CHOSEN if getattr(chosen, name) != getattr(config, name)}


def describe(config, images) -> str:
    """One line that says what was chosen; empty where nothing was."""
    values = ", ".join(f"{name} {value:g}" for name, value in values_of(config, images).items())
    if not values:
        return ""
    if config.init_lr:
        return f"{values}: chosen by the number of images; --batch-size sets another"
    return f"{values}: chosen by optimizer, batch size and number of images; --init-lr sets another rate"


def choices_of(run):
    """Return {setting: number} chosen for a run, which keeps it in `chosen.json`; empty if all were given."""
    with contextlib.suppress(UserError):
        found = run.read_json("chosen.json")
        if isinstance(found, dict) and all(is_number(value) for value in found.values()):
            return {name: value for name, value in found.items() if name in CHOSEN}
    return {}

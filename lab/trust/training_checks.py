"""Checks by trainings of a few steps: start, gradients, one batch by heart, a baseline that sees nothing, the rate."""

import math
from dataclasses import replace

import numpy as np

from lab.training.rate_finder import find_rate
from lab.trust.findings import finding
from lab.trust.trial import GradientNorms
from models.blocks import ResidualBlock

# Nats that the first loss may be above guessing, and more for each residual block, which adds its branch to what came before.
# Measured with some seeds on digits, shapes and birds: at most 3.6 for networks of up to 27 blocks, 6.5 for ResNet-110 with 54.
START, BLOCK = 3.0, 0.08
NO_GRADIENT = 1e-7  # of the largest gradient's norm
LOOKED_AT = 3  # steps whose gradients are looked at: in the first, some kernels can have none
BY_HEART = 0.1  # of guessing: the loss of a batch that is known by heart
LAST = 3  # steps, whose mean loss is that
BLANK = 0.5  # of the loss with blank images, below which that with images has to fall
WARM_UP = 0.2  # of a trial's steps
TOO_LARGE, TOO_SMALL = 10.0, 1e-3  # times the rate at which the loss was about to rise
FAR = 30.0  # times the usual rate


def check_first_steps(trial, rate):
    """Yield findings on the first loss, near ln C (who knows nothing should not be sure), and on each kernel's gradient."""
    norms = GradientNorms()
    losses = trial.losses(np.full(LOOKED_AT, rate, "float32"), callbacks=[norms])
    yield _start(losses[0], trial)
    yield _gradients(norms.largest)


def _start(loss, trial):
    classes = trial.dataset.classes
    guessing, blocks = math.log(classes), sum(isinstance(layer, ResidualBlock) for layer in trial.model.layers)
    allowed = guessing + START + BLOCK * blocks
    sentence = f"{loss:.2f}, that of guessing is ln {classes} = {guessing:.2f} (allowed: up to {allowed:.2f})"
    is_well = math.isfinite(loss) and loss <= allowed
    if not is_well:
        sentence += ": the network begins sure of wrong answers"
    return finding("loss at the start", is_well, sentence, loss=number(loss), guessing=guessing)


def _gradients(norms):
    largest = max((norm for norm in norms.values() if math.isfinite(norm)), default=0.0)
    dead = [path.removesuffix("/kernel") for path, norm in norms.items() if not norm > NO_GRADIENT * largest]
    smallest = min(norms, key=norms.get)
    sentence = f"reach {len(norms) - len(dead)} of {len(norms)} kernels; the smallest norm is {norms[smallest]:.1e} ({smallest})"
    if dead:
        sentence += f": none reaches {', '.join(dead[:3])}{' ...' if len(dead) > 3 else ''}, these layers are dead"
    return finding("gradients", not dead, sentence, kernels=len(norms), dead=dead, smallest=number(norms[smallest]))


def check_one_batch(trial, rate, steps):
    """Yield findings on one batch: it can be learned by heart, and not from blank images, of which only labels can be learned.

    The first needs a network, a loss and an optimizer that work together; the second, that the network looks at its input.
    """
    guessing = math.log(trial.dataset.classes)

    def knows(losses):
        return len(losses) >= LAST and np.mean(losses[-LAST:]) < BY_HEART * guessing

    losses = trial.losses(warmed_up(rate, steps), is_over=knows, is_one=True)
    end, count = float(np.mean(losses[-LAST:])), len(losses)
    is_well = end < BY_HEART * guessing
    sentence = f"loss {losses[0]:.2f} of {trial.batches.batch_size} images falls to {end:.2f} in {count} steps"
    if not is_well:
        sentence += f" (wanted: below {BY_HEART * guessing:.2f}): the network can't learn even one batch"
    yield finding("one batch by heart", is_well, sentence, first=number(losses[0]), last=number(end), steps=count)
    blank = trial.losses(warmed_up(rate, steps)[:count], is_one=True, is_blank=True)
    least = label_entropy(trial)
    reached = max(float(np.mean(blank[-LAST:])), least) if np.isfinite(blank).all() else least
    is_well = end < BLANK * reached
    sentence = f"loss {end:.2f} with images, {reached:.2f} with blank ones after as many steps"
    if not is_well:
        sentence += ": images do not help to name their class"
    yield finding("baseline", is_well, sentence, images=number(end), blank=reached, entropy=least)


def label_entropy(trial) -> float:
    """Return the entropy of the labels of a trial's first batch: the least loss that can be reached without looking at images."""
    shares = np.bincount(trial.dataset.train.labels[trial.batches.indices(0)]) / trial.batches.batch_size
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def check_rate(rate, edge, usual):
    """The learning rate against that at which a rising rate made the loss rise, and against what `chosen` would choose."""
    sentence = f"{rate:.2g}; the loss was about to rise at {edge:.2g}, {usual:.2g} is usual for such a run"
    is_large, is_small = rate > TOO_LARGE * edge or rate > FAR * usual, rate < TOO_SMALL * edge
    if is_large or is_small:
        sentence += f": too {'large' if is_large else 'small'}, take --init-lr {min(usual, edge / 3):.2g}"
    return finding("learning rate", not (is_large or is_small), sentence, rate=rate, edge=edge, usual=usual)


def rising_rate(trial, config, run, steps) -> float:
    """Return the rate at which the loss is about to rise, for the trial's batches, from its first weights."""
    trial.restore()
    nothing = dict.fromkeys(("track_f1", "track_gradients", "tensorboard", "film"), False)  # is recorded
    config = replace(config, batch_size=trial.batches.batch_size, **nothing)
    *_, suggestion = find_rate(config, run, trial.dataset, trial.model, steps)
    return 10 * suggestion


def warmed_up(rate, steps):
    """Return rates `(steps,)` that rise over the first steps."""
    rise = max(WARM_UP * steps, 1.0)
    return (rate * np.minimum((np.arange(steps) + 1) / rise, 1.0)).astype("float32")


def number(value) -> float | None:
    """Return a float that JSON can hold: None if it is not finite."""
    return float(value) if math.isfinite(value) else None

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 7. Which trick helped, and why two seeds are not enough
#
# **Question.** A recipe has three tricks: augmentation (shifted images), Mish instead of ReLU, smoothed labels. Together they change the
# accuracy. Which of them did it? And how many trainings does it take to know?
#
# **Your prediction.**
#
# * Points of test accuracy that each brings on 20 images of each digit: augmentation ... Mish ... smoothed labels ...
# * How wide is the 95 % interval of such an effect, in points, with two seeds? ... with five? ...

# %%
import sys

sys.path.insert(0, "..")

from itertools import combinations

import numpy as np

from lab.lessons import Table, check, points, sized, train
from lab.reports.comparisons import Comparison, adjusted
from lab.reports.factorial import Factor, combinations_of, effects_of, name_of, settings_of, shapley_weights
from lab.reports.statistics import Estimate, weighted_values

factors = (
    Factor("augmentation", {"augment": "none"}, {"augment": "standard", "max_shift": 2}),
    Factor("Mish", {"activation": "relu"}, {"activation": "mish"}),
    Factor("smoothing", {"label_smoothing": 0.0}, {"label_smoothing": 0.1}),
)[: sized(3, 2)]
seeds = sized(5, 2)
shared = {
    "n": 1,
    "images_per_class": 20,
    "image_size": 8,
    "epochs": 15,
    "track_gradients": False,
    "ema_decay": 0.0,
    "init_lr": 0.05,
}
accuracies = {}
for combination in combinations_of(factors):
    arm = name_of(combination, factors)
    settings = shared | settings_of(combination, factors)
    accuracies[arm] = {seed: train("resnet6n2", seed=seed, **settings).accuracy() for seed in range(seeds)}
rows = [
    [arm, *[f"{value:.1f}" for value in found.values()], f"{np.mean(list(found.values())):.2f}"]
    for arm, found in accuracies.items()
]
Table([["test accuracy (%)", *[f"seed {seed}" for seed in range(seeds)], "mean"], *rows])

# %% [markdown]
# ## The experiment: a factorial
#
# We trained every combination of the tricks. So each effect is measured on *all* trainings: the mean of the arms with a trick minus that
# of the arms without it. And interactions show: whether a trick helps more where another is there. Runs of one seed have the same split
# and initial weights, so effects are computed seed by seed, and the interval is that of their mean.

# %%
by_seed = {name: list(weighted_values(weights, accuracies).values()) for name, weights in effects_of(factors).items()}
family = adjusted([Comparison(name, None, tuple(values)) for name, values in by_seed.items()])
for one in family:
    print(one.sentence())
points(
    {name: Estimate.of(values) for name, values in by_seed.items()},
    "Effects with their 95 % intervals",
    "points of test accuracy",
)

# %% [markdown]
# ## Two seeds
#
# With five seeds you can play the study with two of them, in ten ways. How often do two pairs of seeds disagree about whether a trick
# helps or harms? How wide is the interval of Student's t?


# %%
def width(values):
    """Width of the 95 % interval in points; NaN where all values are the same."""
    interval = Estimate.of(values).interval
    return interval[1] - interval[0] if interval else np.nan


pairs = list(combinations(range(seeds), 2))
rows, wide, narrow = (
    [["effect", f"{seeds} seeds", "interval", "lowest and highest of two seeds", "width, 2 seeds", f"width, {seeds} seeds"]],
    [],
    [],
)
for name, values in by_seed.items():
    of_two = [np.mean([values[i], values[j]]) for i, j in pairs]
    widths = [width([values[i], values[j]]) for i, j in pairs]
    wide.append(np.nanmean(widths) if np.isfinite(widths).any() else np.nan)
    narrow.append(width(values))
    estimate = Estimate.of(values)
    interval = "{:+.2f} to {:+.2f}".format(*estimate.interval) if estimate.interval else "-"
    extremes = f"{min(of_two):+.2f} to {max(of_two):+.2f}"
    rows.append([name, f"{estimate.mean:+.2f}", interval, extremes, f"{wide[-1]:.1f}", f"{narrow[-1]:.1f}"])
Table(rows)

# %% [markdown]
# Student's t takes the spread from the seeds themselves. With two there is one degree of freedom, and the factor before the standard
# error is 12.7; with five it is 2.8. An "improvement over two seeds" is a difference within an interval that is most often wider than the
# effect. That is why a study here gives two seeds no verdict.
#
# ## Who gets the credit?
#
# An ablation that adds one trick after the other gives each what it adds *in that order*. Shapley's share is the mean over all orders, and
# the shares sum to the whole gain.

# %%
shares = {
    name: np.mean(list(weighted_values(weights, accuracies).values())) for name, weights in shapley_weights(factors).items()
}
everything, nothing = (np.mean(list(accuracies[name_of(chosen, factors)].values())) for chosen in ({f.name for f in factors}, ()))
Table(
    [
        ["trick", "share of the gain"],
        *[[name, f"{share:+.2f}"] for name, share in shares.items()],
        ["all", f"{everything - nothing:+.2f}"],
    ]
)

# %% [markdown]
# ## The answer, checked

# %%
ratio = np.nanmean(wide) / np.nanmean(narrow)
print(f"intervals of two seeds are {ratio:.1f} times as wide as those of {seeds}")
check("the shares sum to the gain of all tricks", abs(sum(shares.values()) - (everything - nothing)) < 1e-6, needs_training=False)
check("two seeds leave intervals at least twice as wide as five", ratio > 2)
check("with two seeds, some effect's interval is wider than 5 points", np.nanmax(wide) > 5)
large = {name: values for name, values in by_seed.items() if len(set(np.sign(values))) == 1}
print("effects with the same sign for every seed: " + (", ".join(large) or "none"))

# %% [markdown]
# When this page was made, one effect was clear: augmentation took 15 points *away*. A shift by up to 2 of 8 pixels moves digits out of the
# image, and 15 epochs of few steps are too short to learn from that; in long trainings on larger images the same trick is worth points.
# Mish and smoothing could not be told from nothing. Whoever had tried Mish with two seeds could have reported almost a point of
# harm, or almost two points of gain.
#
# ## What others found
#
# * Box, Hunter & Hunter 2005, *Statistics for experimenters*, chapters 5 and 6: factorial designs.
# * Bouthillier et al. 2021 ([arXiv:2103.03098](https://arxiv.org/abs/2103.03098)): seeds, splits and orders of data all vary results;
#   many published gains are smaller than that.
# * Picard 2021 ([arXiv:2109.08203](https://arxiv.org/abs/2109.08203)): among thousands of seeds there are some that are better by points.
# * Our own: `python study.py bag_of_tricks_factorial`, and `python study.py aa_test`, which compares a network with itself.
#
# ## Exercises
#
# **1.** Compare the network with itself: seeds 0 to 4 against seeds 5 to 9, both without any trick. How large is "the effect"?
#
# <details><summary>Solution</summary>
#
# `[train("resnet6n2", seed=s, **shared | settings_of((), factors)).accuracy() for s in range(10)]`, then the difference of the two means.
# It is not zero, and often as large as the effects above: that is the noise that a trick has to beat.
# </details>
#
# **2.** Pick the best of the eight combinations by its mean, as papers do. Why is its accuracy too good to be true?
#
# <details><summary>Solution</summary>
#
# It was chosen because it is the best, so its noise is more likely up than down ("winner's curse"). Train it again with seeds 5 to 9: the
# mean falls, on average. `study.py search` repeats its winner with fresh seeds for this reason.
# </details>
#
# **3.** How many seeds would smoothing need? Read `one.detectable` and `one.seeds_needed` of the comparisons.
#
# <details><summary>Solution</summary>
#
# `[(one.name, one.detectable, one.seeds_needed) for one in family]`. `detectable` is what five seeds with this spread would find in 80 of
# 100 studies; `seeds_needed` is how many would find the difference that was seen, if it is the true one.
# </details>

# %% [markdown]
# Next: [lesson 8](08_what_it_sees.md) asks what a network looks at.

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 5. The landscape around the weights
#
# **Question.** Training ended somewhere. How does the loss look around there, if the weights move along two random directions: like a
# bowl, or like a mountain range? Is it another one with shortcuts?
#
# **Your prediction.** Draw the contours of the loss for plain and residual networks of 20 and 56 layers.
#
# * The one with the widest valley: ...
# * By what share of their own length can the weights of the residual network of 20 layers move before it is as bad as guessing? ...

# %%
import sys

sys.path.insert(0, "..")

from lab.lessons import Table, check, landscape, lines, sized, train

depths = sized((20, 56), (20,))
kinds = {"residual": "resnet", "plain": "plain"}
runs = [train(f"{model}{depth}", name=f"{kind} {depth}") for depth in depths for kind, model in kinds.items()]
seen = landscape(*runs, grid=sized(9, 3), images=sized(200, 20), reach=1.0)
seen

# %% [markdown]
# ## The experiment
#
# Random directions can't be compared as they are: a network whose weights are ten times as large, with a norm behind them, computes the
# same and would look ten times as flat. So each filter of a direction is made as long as the filter of the weights (Li et al. 2018,
# equation 1): 1 on an axis moves every filter by its own length. Batch norm keeps the statistics of the trained weights.
#
# A plane through a space of hundreds of thousands of dimensions shows little of it. What it shows best is how fast the loss rises with
# the distance from the star: the median over all points of the plane at that distance.

# %%
import numpy as np

guessing = float(np.log(runs[0].dataset.classes))


def by_distance(found):
    """Return (distances, median loss of the points of a landscape at that distance), in steps of half a cell and more."""
    distances = np.hypot(*np.meshgrid(found.steps, found.steps))
    edges = np.arange(0, found.steps[-1] + 1e-9, found.steps[1] - found.steps[0])
    rings = [np.abs(distances - edge) <= (edges[1] - edges[0]) / 2 for edge in edges]
    return edges, np.array([np.median(found.losses[ring]) for ring in rings])


profiles = {name: by_distance(found) for name, found in seen.measured.items()}
shown = profiles | {"guessing": (profiles[runs[0].name][0], np.full(len(profiles[runs[0].name][0]), guessing))}
lines(
    shown,
    "Loss by the distance from the trained weights",
    "distance, as a share of the weights",
    "median cross-entropy",
    yscale="log",
)

# %% [markdown]
# ## The answer, checked

# %%
at = {name: found.at_the_weights for name, found in seen.measured.items()}
reaches = {}
for name, (distances, losses) in profiles.items():
    above = np.flatnonzero(losses > guessing)
    reaches[name] = float(distances[above[0]]) if len(above) else float("inf")
rows = [["network", "loss at the weights", "loss at a quarter", "worse than guessing from a distance of"]]
for name, (distances, losses) in profiles.items():
    quarter = float(np.interp(0.25, distances, losses))
    far = f"{reaches[name]:.2f}" if np.isfinite(reaches[name]) else f"more than {distances[-1]:g}"
    rows.append([name, f"{at[name]:.3f}", f"{quarter:.3f}", far])
learned = [name for name in at if at[name] < guessing / 2]
check(
    "with shortcuts the deep network ended in a deeper place than without",
    at[f"residual {depths[-1]}"] < at[f"plain {depths[-1]}"],
)
rises = all(profiles[name][1][-1] > 2 * at[name] for name in learned)
check("where a network has learned, the loss rises around its weights", bool(learned) and rises)
check(
    "there is a valley: a step of a quarter of the weights is better than one of their whole length",
    all(np.interp(0.25, *profiles[name]) < profiles[name][1][-1] for name in learned),
)
Table(rows)

# %% [markdown]
# Here, with 20 layers, both kinds have a valley, as wide as one another; the residual network's is deeper. With 56 layers the residual
# network still has one, a narrower one, and the plain network hardly.
#
# Be careful with the plain network of 56 layers: it has hardly learned (lesson 2), and around weights that know little there is little to
# lose. A flat landscape is no merit by itself; the same loss at a wider distance is.
#
# ## What others found
#
# * Li et al. 2018, *Visualizing the loss landscape of neural nets* ([arXiv:1712.09913](https://arxiv.org/abs/1712.09913)), figures 5 and 6:
#   without shortcuts the landscape of deep networks becomes chaotic from 56 layers on, with shortcuts it stays smooth.
# * Dinh et al. 2017, *Sharp minima can generalize for deep nets* ([arXiv:1703.04933](https://arxiv.org/abs/1703.04933)): what looks flat
#   depends on the units of the weights; hence the filters' normalisation, and caution.
# * Goodfellow et al. 2015 ([arXiv:1412.6544](https://arxiv.org/abs/1412.6544)): the loss on the line from the initial to the trained
#   weights falls smoothly. A film of a run shows its own: `python visualize.py film RUN`.
#
# ## Exercises
#
# **1.** Is the picture the same with other directions? `Options(seed=1)` draws others.
#
# <details><summary>Solution</summary>
#
# `python visualize.py landscape RUN RUN --seed 1 --output-dir output/lessons`. Shapes differ; how fast the loss rises with the distance
# hardly does. That is what may be said from two dimensions.
# </details>
#
# **2.** Are large batches sharper? Train `resnet20` with `batch_size=16` and `batch_size=256`.
#
# <details><summary>Solution</summary>
#
# `landscape(train("resnet20", batch_size=16, name="16"), train("resnet20", batch_size=256, name="256"))`. Keskar et al. 2017
# ([arXiv:1609.04836](https://arxiv.org/abs/1609.04836)) say yes. Here the batch of 256 also makes few steps, so look at the losses at the
# weights first: networks that are not trained equally far can't be compared by sharpness.
# </details>
#
# **3.** The star is at the *average* of the weights. Where would the weights without `ema_decay` be?
#
# <details><summary>Solution</summary>
#
# Further up the wall: the average of points around a bowl lies deeper than the points (Izmailov et al. 2018). Train with `ema_decay=0.0`
# and compare the losses at the weights.
# </details>

# %% [markdown]
# Next: [lesson 6](06_norms.md) makes batches small.

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # The block study: basic or bottleneck, before or after
#
# A block can have two 3x3 convolutions ("basic") or a 1x1, a 3x3 and a 1x1 with fewer channels inside ("bottleneck"); norm and activation
# can follow each convolution ("post", He et al. 2015) or come before it ("pre", He et al. 2016). That makes four networks. Which would you
# take, and what does each cost?
#
# **Your prediction.** Most parameters: ... Most multiply-accumulates: ... Fastest for one image: ... Highest accuracy: ...
#
# The runs are those of `python study.py block_design`, if they are there; otherwise four short trainings on digits, which show the
# costs and no ranking.

# %%
import sys

sys.path.insert(0, "..")

from lab.lessons import Shown, Table, check, compare, sized, study_runs, train
from lab.reports.architecture_diagram import draw_architecture
from lab.reports.statistics import Estimate
from lab.studies.block_design import STUDY

short = {"dataset": "digits", "image_size": 16, "images_per_class": 100, "epochs": 8, "init_lr": 0.05, "batch_size": 32}
runs = study_runs("block_design") or [
    train(arm.name, name=arm.name, **STUDY.shared | short | {"track_gradients": False}) for arm in STUDY.arms
]
compare(*runs)

# %% [markdown]
# ## The blocks

# %%
first = {run.config.model: run for run in runs}
Shown(draw_architecture(first["mini-basic-post"].model, "Basic, post-activation"), "the blocks of mini-basic-post")

# %%
Shown(draw_architecture(first["mini-bottleneck-pre"].model, "Bottleneck, pre-activation"), "the blocks of mini-bottleneck-pre")

# %% [markdown]
# ## What they cost
#
# Parameters and multiply-accumulates (MACs) are counted. Latency is measured: the mean for one image on torch, norms folded into the
# convolutions before them, the four networks in turns.

# %%
from lab.benchmarks.inference import milliseconds_of

milliseconds = dict(
    zip(first, milliseconds_of([run.config for run in first.values()], calls=sized(100, 10), warm_ups=sized(10, 1)), strict=True)
)
rows = [["network", "parameters", "MACs", "ms for one image", "test accuracy (%)", "95 % interval over seeds", "seeds"]]
for model, one in first.items():
    accuracy = Estimate.of([run.accuracy() for run in runs if run.config.model == model], within=(0.0, 100.0))
    interval = "{:.1f} to {:.1f}".format(*accuracy.interval) if accuracy.interval else "-"
    costs = [f"{one.metrics['params']:,}", f"{one.metrics['macs']:,}", f"{milliseconds[model]:.2f}"]
    rows.append([model, *costs, f"{accuracy.mean:.1f}", interval, accuracy.count])
Table(rows)

# %% [markdown]
# ## Analysis, checked

# %%
params = {model: run.metrics["params"] for model, run in first.items()}
macs = {model: run.metrics["macs"] for model, run in first.items()}
check(
    "a bottleneck has fewer parameters than a basic block of the same output",
    params["mini-bottleneck-post"] < params["mini-basic-post"],
    False,
)
check("and fewer multiply-accumulates", macs["mini-bottleneck-pre"] < macs["mini-basic-pre"], False)
difference = abs(macs["mini-basic-pre"] / macs["mini-basic-post"] - 1)
check("the order of norm and convolution costs less than 5 % of the multiply-accumulates", difference < 0.05, False)
check("every network has learned something", min(run.accuracy() for run in runs) > 30)
saved = (
    1 - macs["mini-bottleneck-post"] / macs["mini-basic-post"],
    1 - milliseconds["mini-bottleneck-post"] / milliseconds["mini-basic-post"],
)
print(
    f"a bottleneck saves {100 * saved[0]:.0f} % of the multiply-accumulates and {100 * saved[1]:.0f} % of the time for one image"
)

# %% [markdown]
# Time does not follow MACs: a bottleneck has three layers where a basic block has two, and small layers keep a processor less busy. Accuracy of
# a short run with one seed ranks nothing: `python study.py block_design` trains each network with several seeds, and
# [RESULTS.md](../../RESULTS.md) has what came of it.
#
# ## What others found
#
# * He et al. 2015 ([arXiv:1512.03385](https://arxiv.org/abs/1512.03385)), figure 5: bottlenecks make networks of 50 layers and more
#   affordable on ImageNet.
# * He et al. 2016 ([arXiv:1603.05027](https://arxiv.org/abs/1603.05027)), table 3: on CIFAR-10 pre-activation gains at 164 and 1001 layers, and
#   little at 110.
#
# ## Exercises
#
# **1.** Give the bottleneck as many parameters as the basic block has. How many blocks are that (`n=...`)?
#
# <details><summary>Solution</summary>
#
# `python dispatcher.py "mini-*" --n 2` lists parameters for another number of blocks; take the `n` at which they are alike and train again.
# </details>
#
# **2.** Which of the four has its latency nearest to its MACs? Divide one by the other.
#
# <details><summary>Solution</summary>
#
# `{model: macs[model] / milliseconds[model] for model in macs}`: the larger, the better the processor is used. Basic blocks lead.
# </details>
#
# **3.** Does the answer change with batches of 32? `python benchmark.py latency "mini-*" --batch 32`.
#
# <details><summary>Solution</summary>
#
# In large batches the cost of calling a layer matters less, so the ratio of times comes closer to that of the MACs.
# </details>

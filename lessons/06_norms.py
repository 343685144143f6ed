# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 6. Norms, and what a small batch does to them
#
# **Question.** Batch norm subtracts the mean of a *batch*. So what a network says of your image in training depends on the images that
# happen to be beside it. How much, with 32 images, and with 2? Does it matter for what is learned?
#
# **Your prediction.**
#
# * Deviation of an image's logits due to its companions, with batches of 2, as a share of the deviation between images: ... With 32: ...
# * A trained network has 95 % right. How many, if its batch norm takes the statistics of the two images at hand instead? ...
# * Accuracy after training with batches of 2 instead of 32: batch norm ... group norm ...

# %%
import sys

sys.path.insert(0, "..")


from lab.lessons import Table, check, lines, sized, train
from lab.lessons.companions import accuracy_in_batches, sway

norms = ("batch", "group")
shared = {"images_per_class": 30, "n": 2}
runs = {
    (norm, size): train(
        "resnet6n2", name=f"{norm} {size}", norm=norm, batch_size=size, epochs=sized({2: 4, 8: 8, 32: 24}[size], 1), **shared
    )
    for norm in norms
    for size in sized((2, 8, 32), (2, 32))
}

# %% [markdown]
# Those are small residual networks of 14 layers, on 30 images of each digit: batches of 2 make many steps, and steps take time. The
# epochs are chosen so that small batches make more steps, not fewer.
#
# ## Companions
#
# We put one image of val into batches with other random images, in training mode, and look how far its logits move.

# %%
sizes = sized((2, 4, 8, 16, 32, 64), (2, 32))
moved = {}
for norm in norms:
    network = runs[norm, 32].model
    moved[f"{norm} norm"] = (sizes, [sway(network, runs[norm, 32].dataset, size) for size in sizes])
lines(
    moved,
    "How far the companions in its batch move an image's logits",
    "images in the batch",
    "deviation / deviation between images",
    xscale="log",
    xticks=sizes,
    xticklabels=sizes,
)

# %% [markdown]
# ## The same network, other batches
#
# Now the answers. We take the networks that were trained with batches of 32 and let their norms take the statistics of the batch, as in
# training, for batches of 2 to 64 images of val. At inference they use moving statistics, the mean of what many batches had.

# %%
answers = {
    f"{norm} norm": (sizes, [accuracy_in_batches(runs[norm, 32].model, runs[norm, 32].dataset, size) for size in sizes])
    for norm in norms
}
shown = dict(answers)
for norm in norms:
    shown[f"{norm} norm, at inference"] = (sizes, [runs[norm, 32].accuracy("val")] * len(sizes))
lines(
    shown,
    "Accuracy with the statistics of the batch at hand",
    "images in the batch",
    "accuracy on val (%)",
    xscale="log",
    xticks=sizes,
    xticklabels=sizes,
)

# %% [markdown]
# ## What was learned

# %%
accuracies = {norm: {size: run.accuracy() for (own, size), run in runs.items() if own == norm} for norm in norms}
Table(
    [
        ["test accuracy, trained with", *[f"batches of {size}" for size in accuracies["batch"]]],
        *[[f"{norm} norm", *[f"{value:.1f} %" for value in found.values()]] for norm, found in accuracies.items()],
    ]
)

# %% [markdown]
# ## The answer, checked

# %%
batch, group = (moved[f"{norm} norm"][1] for norm in norms)
few, many = (answers["batch norm"][1][place] for place in (0, -1))
print(
    "companions move logits, batch norm: " + ", ".join(f"{v:.2f} (batch of {size})" for size, v in zip(sizes, batch, strict=True))
)
print(f"batch norm with the statistics of {sizes[0]} images: {few:.1f} %, of {sizes[-1]}: {many:.1f} %")
lost = {norm: found[32] - found[2] for norm, found in accuracies.items()}
print("lost by training with batches of 2: " + ", ".join(f"{norm} norm {value:+.1f} points" for norm, value in lost.items()))
check("with group norm an image's logits do not depend on its companions", max(group) < 1e-3, needs_training=False)
check("with batch norm they do, the more the smaller the batch", batch[0] > 1.5 * batch[-1] > 0)
check("the statistics of two images cost batch norm many answers", few < many - 5)
constant = max(answers["group norm"][1]) - min(answers["group norm"][1])
check("group norm has the same answers in every batch, but for those that fill none", constant < 8)

# %% [markdown]
# With two images, a batch's mean is that of the image and one other: the norm adds noise to every layer, and the *moving* statistics that
# the network is measured with are those that no batch of two ever had. Training and inference compute different functions. Group norm
# takes its statistics from the image alone, hence the same in every batch.
#
# What small batches cost *after training* is another question, and the table answers it for one seed, one rule for the rate (a sixteenth
# of it for batches of 2) and few epochs. When this page was made, batches of 2 cost both norms nearly the same; on ImageNet the paper
# found that they cost group norm hardly anything. Is it the small rate, or are the steps too few? One seed can't tell; exercise 3 and
# lesson 7 say how to ask.
#
# ## What others found
#
# * Ioffe & Szegedy 2015 ([arXiv:1502.03167](https://arxiv.org/abs/1502.03167)): batch norm.
# * Wu & He 2018, *Group normalization* ([arXiv:1803.08494](https://arxiv.org/abs/1803.08494)), ResNet-50 on ImageNet: with 32 images a
#   GPU batch norm has 23.6 % errors and group norm 24.1 %; with 2 images 34.7 % and 24.1 %.
# * Some noise helps: it is a regulariser, and one reason why group norm does not simply win with large batches (Luo et al. 2019,
#   [arXiv:1809.00846](https://arxiv.org/abs/1809.00846)).
# * `python study.py normalization` and `python study.py batch_size` ask the same with seeds and intervals.
#
# ## Exercises
#
# **1.** What do layer norm and instance norm do with batches of 2? `norm="layer"`, `norm="instance"`.
#
# <details><summary>Solution</summary>
#
# Both take statistics of the image alone, so their sway is zero too, as group norm's: layer norm is group norm with one group, instance
# norm with as many groups as channels.
# </details>
#
# **2.** Does it need a norm at all? `norm="none"`.
#
# <details><summary>Solution</summary>
#
# `train("resnet6n2", norm="none", **shared)`: with 14 layers it trains, if the rate is low enough (`init_lr=0.01`). Deeper ones need
# initial weights that keep the branches small (Zhang et al. 2019, [arXiv:1901.09321](https://arxiv.org/abs/1901.09321)).
# </details>
#
# **3.** Batches of 2, but the weights move after every 16 of them: `accumulate=16`. Does it help batch norm?
#
# <details><summary>Solution</summary>
#
# Gradients are then those of 32 images, but each norm still sees two: `accumulate` mends the noise of the gradient, not that of the
# statistics. Compare with `norm="group"` to see which of the two was the trouble.
# </details>

# %% [markdown]
# Next: [lesson 7](07_which_trick.md) asks which of three tricks helped.

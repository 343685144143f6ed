# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 4. Cut a block, shuffle blocks, measure the paths
#
# **Question.** What happens to a trained network of 20 layers if you take one of its 9 blocks out, without training it again? What if
# you exchange two blocks?
#
# **Your prediction.** Accuracy on val, where the whole networks have about 95 % or more:
#
# * residual network without its 5th block: ...
# * plain network without its 5th block: ...
# * residual network with three pairs of blocks exchanged: ...

# %%
import sys

sys.path.insert(0, "..")

from lab.lessons import check, lesions, lines, sized, train

runs = [train("resnet20", name="residual 20"), train("plain20", name="plain 20")]
cut = lesions(*runs)
cut

# %% [markdown]
# ## Blocks in another order
#
# Blocks of one stage have the same shape, so they can change places. We exchange 1 to 5 random pairs and measure the accuracy.

# %%
import numpy as np

from lab.lessons.ensemble import accuracy_when_shuffled, gradient_by_length, share_of_lengths

swaps = sized((0, 1, 2, 3, 5), (0, 2))
accuracies = {run.name: accuracy_when_shuffled(run, swaps, repetitions=sized(6, 1)) for run in runs}
means = {name: (swaps, [np.mean(values) for values in found.values()]) for name, found in accuracies.items()}
lines(
    means,
    "Accuracy after pairs of blocks changed places",
    "pairs exchanged",
    "accuracy on val (%), mean of 6 draws",
    ylim=(0, 103),
)

# %% [markdown]
# ## Short paths
#
# A residual network of n blocks holds 2^n paths from the images to the classes: at each block one goes through the branch or past it.
# The length of a path is the number of branches on it; most paths have a length of about n / 2. Which of them carry the gradient? We let
# the gradient go one random path at a time. (For that, branch and shortcut have to be parted, which is exact where nothing follows the
# addition: in pre-activation networks.)

# %%
from lab.lessons.running import images_of

paths_of = train(f"preresnet{sized(56, 20)}", name="pre-activation")
images, labels = images_of(paths_of.dataset, sized(32, 8)), paths_of.dataset.val.labels[: sized(32, 8)]
norms = gradient_by_length(paths_of.model, images, labels, samples=sized(6, 1))
share_of_paths, share_of_gradient = share_of_lengths(norms)
lengths = range(len(norms))
lines(
    {"one path": (lengths, norms / norms[0])},
    "Gradient by one path",
    "length",
    "gradient norm / that of the path past all blocks",
    yscale="log",
)

# %%
lines(
    {"of all paths": (lengths, share_of_paths), "of the gradient": (lengths, share_of_gradient)},
    "Which lengths there are, and which carry the gradient",
    "length of a path (branches on it)",
    "share",
)

# %% [markdown]
# ## The answer, checked

# %%
whole = {name: 100 * found.whole for name, found in cut.measured.items()}
left = {name: [100 * value for value in found.without.values() if value is not None] for name, found in cut.measured.items()}
loss = {name: whole[name] - np.median(left[name]) for name in whole}
for name in whole:
    print(
        f"{name}: {whole[name]:.1f} % whole, without one block {np.median(left[name]):.1f} % (median), {min(left[name]):.1f} % (worst)"
    )
mean = {"all paths": float((share_of_paths * lengths).sum()), "the gradient": float((share_of_gradient * lengths).sum())}
print("mean length of", ", of ".join(f"{name} {value:.1f}" for name, value in mean.items()))
few = swaps[1]
after = {run.name: np.mean(accuracies[run.name][few]) for run in runs}
print(f"after {few} exchanged: " + ", ".join(f"{name} {value:.1f} %" for name, value in after.items()))
residual, plain = (run.name for run in runs)
check("a plain network without one block loses far more than a residual one", loss[plain] > loss[residual] + 10)
check("a residual network keeps more of its accuracy when blocks change places", after[residual] > after[plain])
check("the mean length of all paths is half the number of blocks", abs(mean["all paths"] - (len(norms) - 1) / 2) < 1e-6, False)
check("the paths that carry the gradient are shorter than most", mean["the gradient"] < mean["all paths"])

# %% [markdown]
# A residual network behaves like a crowd of shallow networks that share weights: without one member the others still answer. A plain
# network is a chain.
#
# ## What others found
#
# * Veit et al. 2016, *Residual networks behave like ensembles of relatively shallow networks*
#   ([arXiv:1605.06431](https://arxiv.org/abs/1605.06431)): in a network of 110 layers on CIFAR-10, deleting a block hardly changes the
#   error, while VGG falls to chance; most of its gradient comes from paths of 10 to 34 layers.
# * Greff et al. 2017 ([arXiv:1612.07771](https://arxiv.org/abs/1612.07771)) read the same facts in another way: blocks of a stage refine
#   one estimate step by step, which also explains why they may change places.
# * Huang et al. 2016 ([arXiv:1603.09382](https://arxiv.org/abs/1603.09382)) cut blocks at random *while* training: stochastic depth.
#
# ## Exercises
#
# **1.** Which blocks of the residual network matter most? Look at the first block of stages 2 and 3 (hollow markers).
#
# <details><summary>Solution</summary>
#
# They change the shape: their shortcut is a projection, which no other block does again. Without the branch of such a block more is lost
# than without that of another: `sorted(cut.measured["residual 20"].without.items(), key=lambda pair: pair[1])`.
# </details>
#
# **2.** Train with `stochastic_depth=0.5` and cut again. What do you predict?
#
# <details><summary>Solution</summary>
#
# `lesions(train("resnet20", stochastic_depth=0.5))`. The network has learned with blocks missing, so it loses even less without one.
# </details>
#
# **3.** Cut two blocks at once.
#
# <details><summary>Solution</summary>
#
# `from lab.reports.lesion import blocks_of, without`; then `without(without(model, blocks[4]), blocks[7])` is the network without both,
# and `predict` of lesson 1 gives its logits. Veit et al., figure 5, cut up to 20 of 54: the error rises smoothly.
# </details>

# %% [markdown]
# Next: [lesson 5](05_landscape.md) looks at the loss around the weights.

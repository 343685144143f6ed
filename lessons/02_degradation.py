# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 2. Deeper is worse, until there is a shortcut
#
# **Question.** A network of 56 layers can compute all that one of 20 layers can: the additional layers only have to pass on what they
# get. So it should fit its *training* images at least as well. Does it? And does it with shortcuts?
#
# **Your prediction.** Order these six by their loss on train after 8 epochs, the best first:
# plain 20, plain 32, plain 56, residual 20, residual 32, residual 56.
#
# * my order: ...
# * loss of plain 56 divided by that of plain 20: ...

# %%
import sys

sys.path.insert(0, "..")

from lab.lessons import Table, check, compare, lines, sized, train

depths = sized((20, 32, 56), (20, 32))
plain = {depth: train(f"plain{depth}", name=f"plain {depth}") for depth in depths}
residual = {depth: train(f"resnet{depth}", name=f"residual {depth}") for depth in depths}
compare(*plain.values(), *residual.values())

# %% [markdown]
# ## The experiment
#
# Twins: the same convolutions, norms, activations, images in the same order, and the same seed. The only difference is that the
# residual network adds the input of each block to its output.

# %%
Table(
    [
        ["network", "parameters", "loss on train", "train", "test"],
        *[
            [
                run.name,
                f"{run.metrics['params']:,}",
                f"{run.loss('train'):.3f}",
                f"{run.accuracy('train'):.1f} %",
                f"{run.accuracy():.1f} %",
            ]
            for runs in (plain, residual)
            for run in runs.values()
        ],
    ]
)

# %%
lines(
    {
        "plain": (depths, [run.loss("train") for run in plain.values()]),
        "residual": (depths, [run.loss("train") for run in residual.values()]),
    },
    "Loss on the training images by depth",
    "layers",
    "cross-entropy on train",
    ylim=(0, None),
)

# %% [markdown]
# The deep plain network fails on the images that it was *trained* on. That is no overfitting, which would fit train and fail on test.
# It is a failure to optimise: a good solution exists (the 20 layers, followed by layers that pass on), and gradient descent does not
# find it. A block with a shortcut has "pass on" for free: its branch only has to be zero.
#
# ## The answer, checked

# %%
shallow, deep = depths[0], depths[-1]
harm = {"plain": plain[deep].loss("train") - plain[shallow].loss("train")}
harm["residual"] = residual[deep].loss("train") - residual[shallow].loss("train")
print(
    f"what {deep} layers instead of {shallow} add to the loss on train: plain {harm['plain']:+.3f}, residual {harm['residual']:+.3f}"
)
check("depth harms the plain network on its own training images", harm["plain"] > 0.05)
check("it harms the residual one less", harm["residual"] < harm["plain"])
check("the deep residual network fits better than its plain twin", residual[deep].loss("train") < plain[deep].loss("train"))

# %% [markdown]
# ## What others found
#
# * He et al. 2015 ([arXiv:1512.03385](https://arxiv.org/abs/1512.03385)), figure 1: on CIFAR-10 a plain network of 56 layers has a higher
#   training error than one of 20. Table 6: with shortcuts the test error falls from 8.75 % (20 layers) to 6.97 % (56).
# * The same, table 2: on ImageNet plain networks of 18 and 34 layers have 27.94 % and 28.54 % errors, residual ones 27.88 % and 25.03 %.
# * Srivastava et al. 2015, *Highway networks* ([arXiv:1505.00387](https://arxiv.org/abs/1505.00387)): shortcuts with gates that are
#   learned, published before the residual network; plain networks of the same depths trained badly there too.
# * Eight epochs are few. With more, the plain network catches up in part: section 4.1 says that deep plain networks converge slowly.
# * [RESULTS.md](../../RESULTS.md) has this comparison on CIFAR-10 with more seeds: `python study.py residual_vs_plain`.
#
# ## Exercises
#
# **1.** Is one seed enough? Train plain 56 and residual 56 with `seed=1` and look whether the order stays.
#
# <details><summary>Solution</summary>
#
# `compare(*[train(model, seed=seed) for model in ("plain56", "resnet56") for seed in (0, 1)])` draws a line a network with a band from
# the lowest to the highest seed. The bands do not touch: an effect of this size shows with two seeds. Lesson 7 is about those that do not.
# </details>
#
# **2.** The residual networks have slightly more parameters (projections where the shape changes). Is that the reason?
# `shortcut="zero"` has none of them.
#
# <details><summary>Solution</summary>
#
# `train("resnet56", shortcut="zero")` has as many parameters as plain 56 and trains like residual 56. It is the path, not the weights.
# </details>
#
# **3.** Give plain 56 three times as many epochs. Does it reach residual 56 of 8 epochs?
#
# <details><summary>Solution</summary>
#
# `train("plain56", epochs=24)`. It gets much better; degradation is mostly a matter of how slowly the network learns. Lesson 3 looks at
# the gradients that it has to learn from.
# </details>

# %% [markdown]
# Next: [lesson 3](03_gradients.md) looks for the reason.

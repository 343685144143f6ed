# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 3. Signals, gradients, and gradients that shatter
#
# **Question.** Why does the plain network of 56 layers learn so badly? The usual answer is: "its gradients vanish". Both networks have
# batch norm. Do they?
#
# **Your prediction.**
#
# * In which of the two is the gradient of the first layers smaller than that of the last, and by what factor? ...
# * Two images are almost the same. Are the gradients that they give to a plain network of 56 layers almost the same too? ...

# %%
import sys

sys.path.insert(0, "..")

from lab.lessons import Table, check, flow, fresh, lines, sized, train

deep = sized(56, 20)
runs = [train(f"plain{deep}", name=f"plain {deep}"), train(f"resnet{deep}", name=f"residual {deep}")]
flow(*runs)

# %% [markdown]
# The runs are those of lesson 2, which recorded the norm of the gradient of every kernel. (Have you not run it? They are trained now.)
#
# ## The signal
#
# First the way forward, before training: how large are the outputs of the blocks, from the first to the last?

# %%
from lab.lessons.running import images_of
from lab.reports.activations import measure_activations

dataset = runs[0].dataset
untrained = {
    name: fresh(model, dataset) for name, model in ((f"plain {deep}", f"plain{deep}"), (f"residual {deep}", f"resnet{deep}"))
}
images = images_of(dataset, 64)
deviations = {
    name: [one.deviation for one in measure_activations(network, images) if not one.is_norm]
    for name, network in untrained.items()
}
lines(deviations, "Outputs of the blocks before training", "block", "standard deviation", ylim=(0, None))

# %% [markdown]
# In the plain network a norm ends every block, so that nothing can vanish or explode. In the residual network blocks add to what they
# get, and the signal grows like a root of the depth, until the next stage begins anew.
#
# ## Gradients that shatter
#
# A gradient is only of use if it still points in the right direction a small step further. Take two images, walk from one to the other
# in 64 steps, and compute at each the gradient of a class by the first feature map. How alike are gradients that are some steps apart?

# %%
import numpy as np

from lab.lessons.shattered import along_a_line, autocorrelation, between_pixels, gradients_of

pairs, seeds = sized(4, 1), sized((0, 1), (0,))


def correlation(model, **options):
    """Mean autocorrelation over pairs of images and over seeds of the initial weights."""
    curves = []
    for seed in seeds:
        network = fresh(model, dataset, seed, **options)
        for i in range(pairs):
            curves.append(autocorrelation(along_a_line(network, images[2 * i], images[2 * i + 1], label=i)))
    return np.mean(curves, axis=0)


shallow = sized(20, 20)
by_distance = {
    f"plain {shallow}": correlation(f"plain{shallow}"),
    f"plain {deep}": correlation(f"plain{deep}"),
    f"residual {deep}": correlation(f"resnet{deep}"),
}
reading = "1: the same gradient; 0: gradients that have nothing in common, as of white noise."
steps = range(len(by_distance[f"plain {deep}"]))
shown = {name: (steps, curve) for name, curve in by_distance.items()}
lines(shown, "How alike gradients are along a line between two images", "steps apart (of 64)", "correlation", reading)

# %% [markdown]
# The same within one image: how alike are the gradients of neighbouring pixels?

# %%
pixels = {}
for name, model in (
    (f"plain {shallow}", f"plain{shallow}"),
    (f"plain {deep}", f"plain{deep}"),
    (f"residual {deep}", f"resnet{deep}"),
):
    networks = [fresh(model, dataset, seed) for seed in seeds]
    pixels[name] = np.mean(
        [between_pixels(gradients_of(network, images, dataset.val.labels[:64])) for network in networks], axis=0
    )
shown = {name: (range(len(curve)), curve) for name, curve in pixels.items()}
lines(shown, "How alike gradients of pixels are", "pixels apart", "correlation")

# %% [markdown]
# ## The answer, checked

# %%
ratio = {}
for run in runs:
    kernels = [i for i, path in enumerate(run.flow["layers"]) if "shortcut" not in path]
    first = np.array(run.flow["gradient_norm"][0])[kernels]
    ratio[run.name] = first[1:4].mean() / first[-4:-1].mean()
near = {name: float(curve[1]) for name, curve in by_distance.items()}
rows = [[name, f"{ratio[name]:.2f}" if name in ratio else "-", f"{near[name]:.2f}", f"{pixels[name][1]:.2f}"] for name in near]
head = ["network", "gradient of the first layers / of the last, epoch 1", "correlation one step on", "one pixel on"]
check(
    "no gradient vanishes: in both networks the first layers get more than a tenth of what the last get",
    min(ratio.values()) > 0.1,
)
check(
    "the deep plain network's gradients shatter: the residual one's are more alike",
    near[f"plain {deep}"] < near[f"residual {deep}"] - 0.1,
)
check(
    "depth shatters: the shallow plain network's are more alike than the deep one's",
    near[f"plain {deep}"] < near[f"plain {shallow}"] - 0.1,
)
Table([head, *rows])

# %% [markdown]
# Vanishing gradients are not the reason. With batch norm they do the opposite in the first epoch: in the plain network the gradient *grows*
# from layer to layer on its way back to the images. And one step on, a 64th of the way from one image to another, the gradient of the
# deep plain network has nothing in common with the one before: it is as good as noise, while the residual network of the same depth is
# about where a plain one of 20 layers is. A shortcut passes the gradient of the next block on as it is, and adds to it.
#
# From pixel to pixel of one image, gradients have nothing in common in any of the three, before training: it is between *images* that the
# networks differ, and it is over images that training averages.
#
# ## What others found
#
# * He et al. 2015 ([arXiv:1512.03385](https://arxiv.org/abs/1512.03385)), section 4.1: "we argue that this optimization difficulty is
#   unlikely to be caused by vanishing gradients", since networks with batch norm have healthy norms.
# * Balduzzi et al. 2017, *The shattered gradients problem* ([arXiv:1702.08591](https://arxiv.org/abs/1702.08591)): in plain networks the
#   correlation of gradients falls exponentially with depth, until they look like white noise; with skip connections it falls far slower.
# * Glorot & Bengio 2010 ([PMLR 9](https://proceedings.mlr.press/v9/glorot10a.html)): signals and gradients by depth as a measurement.
#
# ## Exercises
#
# **1.** Is it the norm? Draw the correlation of `plain56` with `norm="none"`.
#
# <details><summary>Solution</summary>
#
# `correlation("plain56", norm="none")` next to the others: `options` go to the network. Without a norm the plain network's correlation
# depends on the initial weights more; the residual network's output grows with each block, and it keeps most of the correlation.
# </details>
#
# **2.** Pre-activation networks (`preresnet56`) have nothing after the addition. Are their gradients even more alike?
#
# <details><summary>Solution</summary>
#
# `correlation("preresnet56")`. Their shortcuts are clean from the first block to the last, so it should lie at or above the residual
# network's curve. He et al. 2016 ([arXiv:1603.05027](https://arxiv.org/abs/1603.05027)) argue so from equation 5.
# </details>
#
# **3.** Does training heal the plain network? Use `runs[0].model` instead of a fresh network.
#
# <details><summary>Solution</summary>
#
# `autocorrelation(along_a_line(runs[0].model, images[0], images[1], 0))`. A trained network is smoother between the images that it
# learned. The trouble of shattered gradients is at the start, when there is nothing yet to go by.
# </details>

# %% [markdown]
# Next: [lesson 4](04_paths.md) cuts the networks to pieces.

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 8. What it looks at, and a map that lies
#
# **Question.** A heat map lies on the object: so the network looks at the object. Does that follow? We make a map that looks convincing
# and knows nothing of the network, and a test that finds it out.
#
# **Your prediction.**
#
# * In how many of 100 images does Grad-CAM's brightest place lie in the object's box? By chance it would be the box's share of the
#   image, about an eighth. ...
# * We replace *all* weights by random ones. How alike are the new maps to the old ones (rank correlation, 1: the same)? ...

# %%
import sys

sys.path.insert(0, "..")

from lab.lessons import Table, check, explain, lines, sized, train

run = train(
    "resnet20",
    dataset="shapes:5",
    image_size=32,
    epochs=16,
    optimizer="muon",
    init_lr=0.1,
    track_gradients=False,
)
explain(run, count=5)

# %% [markdown]
# `shapes:5` are drawn: five classes of shapes with textures, anywhere in the image, on ground of any colour and texture. So where the object is, is known.
#
# ## Two kinds of maps
#
# Grad-CAM weighs the last feature map by the gradient of the class. The other map is an edge detector: the length of the gradient of the
# *image*, blurred. It never sees the network.

# %%
import numpy as np
from scipy import ndimage

from foundation.style import sheet
from lab.explanations import quality
from lab.explanations.drawing import overlay
from lab.explanations.network import Network
from lab.lessons import Shown

network = Network.of(run.run)
split = network.dataset.val.select(range(min(sized(100, 10), len(network.dataset.val))))
classes = network.probabilities(split).argmax(1)
boxes, images = split.boxes(np.arange(len(split))), split.read()


def edges(images):
    """Strength of the edges of images `(N, H, W, C)`, blurred, each with maximum 1: a map that knows no network."""
    found = np.stack([ndimage.gaussian_gradient_magnitude(image.mean(-1), sigma=1.5) for image in images])
    return (found / found.max((1, 2), keepdims=True)).astype("float32")


maps = {"Grad-CAM": network.maps(split, classes), "edges": edges(images.astype("float64"))}
figure = sheet(9, 4.6, "Which of these maps explains the network?")
axes = figure.subplots(2, 5)
for row, (name, found) in zip(axes, maps.items(), strict=True):
    for place, one in enumerate(row):
        one.imshow(overlay(images[place], found[place]))
        one.set_axis_off()
    row[0].set_title(name, loc="left", fontsize=10)
Shown(figure, "maps of five images, by Grad-CAM and by an edge detector")

# %% [markdown]
# ## Do they find the object?

# %%
chance = float(quality.box_shares(boxes, images.shape[1]).mean())
pointing = {name: float(quality.pointing_game(found, boxes).mean()) for name, found in maps.items()}
energy = {name: float(quality.energy_inside(found, boxes).mean()) for name, found in maps.items()}
rows = [[name, f"{pointing[name]:.2f}", f"{energy[name]:.2f}"] for name in maps]
Table([["map", "brightest place in the box", "share of the map in the box"], *rows, ["chance", f"{chance:.2f}", f"{chance:.2f}"]])

# %% [markdown]
# By these measures the edge detector is a fine explanation. It has nothing to do with the network.
#
# ## The sanity check
#
# A map that explains what a network *learned* must change when the network forgets. We replace weights by random ones, from the classifier
# down to the stem, and compare the maps with those of the trained network (Adebayo et al. 2018).

# %%
alike = {name: [] for name in maps}
parts = []
for part, changed in quality.randomised(network):
    parts.append(part)
    now = {"Grad-CAM": changed.maps(split, classes), "edges": edges(images.astype("float64"))}
    for name, found in now.items():
        alike[name].append(float(quality.likeness(maps[name], found).mean()))
shown = {name: (range(len(parts)), values) for name, values in alike.items()}
reading = f"From left to right ever more of the network is random: {parts[0]}, then {parts[1]} too, up to all of it."
lines(
    shown,
    "Likeness to the maps of the trained network",
    "weights random from the classifier down to",
    "rank correlation",
    reading,
    ylim=(-0.5, 1.05),
    xticks=range(len(parts)),
    xticklabels=parts,
)

# %% [markdown]
# ## The answer, checked

# %%
print(
    f"test accuracy {run.accuracy():.1f} %; Grad-CAM points into the box in {100 * pointing['Grad-CAM']:.0f} % (chance {100 * chance:.0f} %)"
)
print(f"likeness once all weights are random: Grad-CAM {alike['Grad-CAM'][-1]:.2f}, edges {alike['edges'][-1]:.2f}")
check("the edge detector finds the object more often than chance", pointing["edges"] > chance, needs_training=False)
check("it says the same of a network that knows nothing: it lies", min(alike["edges"]) > 0.999, needs_training=False)
check("Grad-CAM forgets with the network", alike["Grad-CAM"][-1] < 0.6)
check("Grad-CAM points at the object more often than chance", pointing["Grad-CAM"] > chance)

# %% [markdown]
# A map that lies on the object may come from the image alone. Passing the check does not make a map true; failing it makes it worthless.
#
# ## What others found
#
# * Selvaraju et al. 2017 ([arXiv:1610.02391](https://arxiv.org/abs/1610.02391)): Grad-CAM.
# * Adebayo et al. 2018, *Sanity checks for saliency maps* ([arXiv:1810.03292](https://arxiv.org/abs/1810.03292)): guided backpropagation and
#   guided Grad-CAM hardly change when weights become random, and look like an edge detector; gradients and Grad-CAM pass.
# * Zhang et al. 2018 ([arXiv:1608.00507](https://arxiv.org/abs/1608.00507)): the pointing game. Petsiuk et al. 2018
#   ([arXiv:1806.07421](https://arxiv.org/abs/1806.07421)): deletion and insertion. `python explain.py RUN` measures all of them.
#
# ## Exercises
#
# **1.** Use `network.maps` of an early layer: `Network.of(run.run, ("stage1_block1",), "layercam")`. Does it pass?
#
# <details><summary>Solution</summary>
#
# Early feature maps are close to filtered images, whatever the weights: expect a higher likeness after randomisation than for the last
# layer. An early map shows what is *there* more than what was *learned*.
# </details>
#
# **2.** Labels can be random too: train on shuffled labels, and compare maps.
#
# <details><summary>Solution</summary>
#
# Adebayo et al., section 4 (data randomisation). A folder with the same pictures in shuffled class folders is such a set:
# `train("resnet20", dataset="folder:...")`. A network that learned by heart has other maps than one that learned shapes.
# </details>
#
# **3.** Is a wrong answer's map different? `explain.py` compares spread and border of right and wrong answers.
#
# <details><summary>Solution</summary>
#
# `python explain.py RUN --output-dir output/lessons` writes a page with both, with intervals. With few wrong answers it says that they
# can't be told apart, which is the honest answer of a small sample.
# </details>

# %% [markdown]
# That was the last lesson. [Studies](../studies.md) is where questions of your own go.

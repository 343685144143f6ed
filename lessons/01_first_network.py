# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # 1. A first network and its plot
#
# **Question.** A residual network of 20 layers has never seen a digit. It looks eight times at 1,437 scans of handwritten digits of
# 16x16 pixels. How many of 180 new scans does it name correctly? And what is its loss before it has learned anything?
#
# **Your prediction** (write it down before you run the next cell; guessing is the point):
#
# * right answers of 180: ...
# * loss of a network that knows nothing: ...
# * will the curve of val lie above or below that of train? ...

# %%
import sys

sys.path.insert(0, "..")  # a notebook lies beside the project's modules

from lab.lessons import Shown, Table, check, fresh, train

run = train("resnet20")
run

# %% [markdown]
# Two lines, and there is the plot. `train` takes every setting of `python train.py --help`: `train("resnet20", epochs=20)`. A run that
# is finished is found again, not trained again. `run.history`, `run.metrics` and `run.model` hold the rest.
#
# ## The experiment
#
# The loss is the cross-entropy: minus the logarithm of the probability that the network gives to the true class. A network that gives
# every one of ten digits the same probability has a loss of log(10) = 2.303. We measure an untrained network, and the trained one.

# %%
import numpy as np

from datasets.batches import Batches
from lab.training.evaluation import cross_entropy, predict

dataset = run.dataset
untrained = fresh("resnet20", dataset)
logits = predict(untrained, Batches(dataset, dataset.val))
losses = {
    "ten equal probabilities": np.log(10),
    "untrained": cross_entropy(logits, dataset.val.labels).mean(),
    "trained": run.loss("val"),
}
Table([["network", "loss on val"], *[[name, f"{loss:.3f}"] for name, loss in losses.items()]])

# %% [markdown]
# The untrained network is worse than one that knows nothing: it is sure of random answers. Its first steps teach it to doubt.
#
# ## What it is made of
#
# A stem, three stages of three blocks, an average, a classifier. Each block computes `branch(x) + shortcut(x)`.

# %%
from lab.reports.architecture_diagram import draw_architecture
from models.costs import count_macs

macs = count_macs(run.model)
words = f"the network: {run.model.count_params():,} parameters, {macs:,} multiply-accumulates for an image"
Shown(draw_architecture(run.model, "ResNet-20"), words)

# %%
stages = {}
for variable in run.model.trainable_variables:
    stage = variable.path.split("_")[0].split("/")[0]
    stages[stage] = stages.get(stage, 0) + int(np.prod(variable.shape))
Table(
    [["part", "weights", "share"], *[[name, f"{n:,}", f"{100 * n / sum(stages.values()):.1f} %"] for name, n in stages.items()]]
)

# %% [markdown]
# ## The answer, checked

# %%
test = run.metrics["test"]
print(f"right: {round(test['accuracy'] * test['images'])} of {test['images']} ({run.accuracy():.1f} %)")
check("it names more than 9 of 10 new digits correctly", run.accuracy() > 90)
check(
    "the loss of an untrained network is above that of equal probabilities",
    losses["untrained"] > np.log(10),
    needs_training=False,
)
check("training brings the loss below half of that", run.loss("val") < np.log(10) / 2)
check("most weights are in the last stage", stages["stage3"] > 0.6 * sum(stages.values()), needs_training=False)

# %% [markdown]
# Was your prediction of val against train right? Train is measured on shifted images, with smoothed labels, while the weights still
# change; val on whole images after the epoch, with an average of the weights. So val may be the better of the two.
#
# ## What others found
#
# * He et al. 2015, *Deep residual learning* ([arXiv:1512.03385](https://arxiv.org/abs/1512.03385)), table 6: this network has 8.75 %
#   errors on CIFAR-10. Digits are easier: a support vector machine names 97 % of them
#   ([scikit-learn's example](https://scikit-learn.org/stable/auto_examples/classification/plot_digits_classification.html)).
# * He et al. 2015, *Delving deep into rectifiers* ([arXiv:1502.01852](https://arxiv.org/abs/1502.01852)): why initial weights have the
#   variance 2 / fan-in, so that signals neither vanish nor explode. Lesson 3 measures it.
# * Izmailov et al. 2018 ([arXiv:1803.05407](https://arxiv.org/abs/1803.05407)): why val is measured with an average of weights.
#
# ## Exercises
#
# **1.** Train on 10 images of each digit: `train("resnet20", images_per_class=10)`. How far does the accuracy fall?
#
# <details><summary>Solution</summary>
#
# `compare(run, train("resnet20", name="ten of each", images_per_class=10)).measured` has both. With 100 images an epoch has four steps,
# so 8 epochs are 32 steps: most of what is lost, is lost because the network saw too few steps. Give it `epochs=120` and compare again.
# </details>
#
# **2.** What does the network know after one epoch? Predict its accuracy on train and on val, then read both.
#
# <details><summary>Solution</summary>
#
# `run.history["accuracy"][0]` and `run.history["val_accuracy"][0]`: val is far better than train. Train's number is a mean over the
# epoch, whose first steps were taken by a network that knew nothing, on images that were shifted; val was measured at its end.
# </details>
#
# **3.** Which digits are confused? Draw the confusion matrix.
#
# <details><summary>Solution</summary>
#
# `python visualize.py confusion RUN --output-dir output/lessons` draws it, and `run.metrics["most_confused"]` lists the pairs. With
# 180 test images a pair of 2 images is no finding: the 95 % interval of the accuracy is several points wide
# (`run.metrics["test"]["images"]`).
# </details>

# %% [markdown]
# Next: [lesson 2](02_degradation.md) makes the network deeper, and takes its shortcuts away.

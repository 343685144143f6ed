"""Macro F1 while a network trains."""

import keras
from keras import ops

import keras_defaults  # noqa: F401  no keras.json is obeyed


class MacroF1(keras.metrics.Metric):
    """The mean of the classes' F1 over all images of an epoch, from one confusion matrix: not a mean of batches' F1.

    Takes labels and logits `(N, classes)`; the class of an image is its largest label (of mixed images, the larger part's).
    A class that is neither there nor predicted counts as F1 0, as in `training.evaluation`.
    """

    def __init__(self, classes, name="f1_macro", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.confusion = self.add_variable((classes, classes), "zeros", name="confusion")

    def update_state(self, labels, logits, sample_weight=None):
        true, predicted = (ops.one_hot(ops.argmax(values, 1), self.classes, dtype="float32") for values in (labels, logits))
        self.confusion.assign_add(ops.matmul(ops.transpose(true), predicted))

    def result(self):
        confusion = ops.convert_to_tensor(self.confusion)
        sums = ops.sum(confusion, 0) + ops.sum(confusion, 1)
        return ops.mean(2 * ops.diagonal(confusion) / ops.maximum(sums, 1.0))

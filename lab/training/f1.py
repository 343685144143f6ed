"""Macro F1 while a network trains."""

import keras
from keras import ops

from foundation import keras_defaults  # noqa: F401  no keras.json is obeyed


class MacroF1(keras.metrics.Metric):
    """The mean of the classes' F1 over all images of an epoch, from one confusion matrix: not a mean of batches' F1.

    Takes labels and logits `(N, classes)`; the class of an image is its largest label (of mixed images, the larger part's).
    A class that is neither there nor predicted does not count, as in `lab.training.evaluation`.
    """

    def __init__(self, classes, name="f1_macro", **kwargs):
        super().__init__(name=name, **kwargs)
        self.classes = classes
        self.confusion = self.add_variable((classes, classes), "zeros", name="confusion")

    def update_state(self, labels, logits, sample_weight=None):
        # Compared with the classes, not ops.one_hot, which brings a number to the device at every step.
        classes = ops.arange(self.classes)
        true, predicted = (ops.cast(ops.argmax(values, 1)[:, None] == classes, "float32") for values in (labels, logits))
        self.confusion.assign_add(ops.matmul(ops.transpose(true), predicted))

    def result(self):
        confusion = ops.convert_to_tensor(self.confusion)
        sums = ops.sum(confusion, 0) + ops.sum(confusion, 1)
        f1 = 2 * ops.diagonal(confusion) / (sums + ops.cast(sums == 0, "float32"))  # 0 of a class that is not there
        present = ops.sum(ops.cast(sums != 0, "float32"))
        return ops.sum(f1) / (present + ops.cast(present == 0, "float32"))

"""A network with the way it is trained: cross-entropy of its logits, accuracy beside it."""

import time

import keras

from foundation import devices, replicas
from lab.training.backends import HAS_OWN_STEP, KEEPS_TRACES, jit_compile
from lab.training.f1 import MacroF1
from lab.training.moving_statistics import MovingStatistics
from models.network import Network


class Classifier(Network):
    """A network whose `fit` runs, on torch, a step of our own: see `lab.training.torch_step`.

    Everything else is Keras': `fit` and its callbacks, `history`, `evaluate`, `predict`. The step takes tensors on the device, as
    `datasets.batches` gives them. `execution` says how it runs on torch: "eager", "compile", "graph" (needs a GPU), or "auto":
    graph on a GPU, else eager.

    The logs that callbacks get within an epoch are numbers of the host. On a GPU, which would have to be waited for, they are
    fetched every `log_interval` seconds and repeated in between; those of an epoch are always its own.
    """

    log_interval = 0.5

    @staticmethod
    def check_execution(execution):
        """Raise a UserError where a step can't be run so here."""
        if HAS_OWN_STEP:
            from lab.training.torch_step import choose_execution

            choose_execution(execution, "cuda" if devices.uses_cuda() else "cpu")

    @classmethod
    def of(cls, model, execution="auto"):
        """Return the same calls of the same layers and weights as a network's."""
        classifier = cls(model.inputs, model.outputs, name=model.name)
        classifier.calls, classifier.execution, classifier.step = model.calls, execution, None
        channels = model.input_shape[-1]
        classifier.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})  # images of any size
        return classifier

    def compile(self, optimizer, track_f1=False):
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
        self.f1 = MacroF1(self.output_shape[-1]) if track_f1 else None
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        super().compile(optimizer=optimizer, loss=loss, jit_compile=jit_compile())
        self.optimizer.build(self.trainable_variables)
        self.moving_statistics = MovingStatistics(self)

    def go_on_as_begun(self, first_steps, is_scaled, is_averaged):
        """Take the rules for moving statistics by which a run began, see MovingStatistics: earlier versions had others."""
        self.optimizer.first_steps = first_steps
        self.moving_statistics = MovingStatistics(self, first_steps, is_scaled, is_averaged)

    @property
    def metrics(self):
        """The metrics of an epoch, in the order in which checkpoints number their sums: ours alone, whatever Keras keeps."""
        return [self.mean_loss, self.accuracy, *([self.f1] if self.f1 else [])] if self.compiled else []

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Keras', for jax and tensorflow, which also counts for the mean of the epoch."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        self.mean_loss.update_state(loss, sample_weight=keras.ops.shape(x)[0])
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Count a batch and return the metrics of the epoch so far. Images count alike, whatever they weigh in the loss."""
        for metric in self.metrics[1:]:
            metric.update_state(y, y_pred)
        return self.get_metrics_result()

    def train_step(self, *arguments):
        """Keras', for jax and tensorflow."""
        return self.moving_statistics.around(super().train_step)(*arguments)

    def make_train_function(self, force=False):
        if not HAS_OWN_STEP and not KEEPS_TRACES:
            return super().make_train_function(force)
        if self.train_function is None or force:
            if KEEPS_TRACES:
                self.train_function = _OneForEachShape(self._keras_train_function)
                return
            step = self.step = _step_class()(self, self.execution)
            self.train_function = self._with_logs(self.moving_statistics.around(step), step.device)
        return self.train_function

    def _keras_train_function(self):
        """Return a train function of Keras' own that has traced nothing yet."""
        kept = self.train_function
        super().make_train_function(force=True)
        made, self.train_function = self.train_function, kept
        return made

    def make_test_function(self, force=False):
        if not HAS_OWN_STEP:
            return super().make_test_function(force)
        if self.test_function is None or force:
            from lab.training.torch_step import EvaluationStep

            step = EvaluationStep(self, self.step.calls if self.step else ())
            self.test_function = self._with_logs(step, step.device)
        return self.test_function

    def _with_logs(self, step, device):
        """Return a step of torch as `fit` and `evaluate` call it."""
        logs = _Logs(0.0 if device.type == "cpu" else self.log_interval)
        return lambda batches: logs.of(step(*batches[0]))

    def release_memory(self):
        """Let go of the compiled step, of the graphs that it recorded and of what the device keeps for them."""
        self.train_function = self.test_function = self.step = None
        if HAS_OWN_STEP:
            from lab.training.torch_step import release_cached_memory

            release_cached_memory()

    def evaluate(self, *args, **options):
        """Keras', and where processes train together, of what all of them measured."""
        found = super().evaluate(*args, **options)
        if replicas.NUM_SHARDS > 1:
            replicas.all_reduce_sum([variable.value.data for variable in self.metrics_variables])
            found = {name: float(value) for name, value in self.get_metrics_result().items()}
        return found


class _OneForEachShape:
    """A train function of TensorFlow for each shape of batches: each is traced once in a process, however often `fit` is called.

    A single one would, at the second shape, be traced for images of every size, and layers ask for the size.
    """

    def __init__(self, make):
        self.make, self.functions = make, {}

    def __call__(self, iterator):
        shapes = str(iterator.element_spec)
        if shapes not in self.functions:
            self.functions[shapes] = self.make()
        return self.functions[shapes](iterator)


class _Logs:
    """Metrics as numbers of the host, fetched from the device when the interval in seconds is over."""

    def __init__(self, interval):
        self.interval, self.fetched_at, self.values = interval, float("-inf"), None

    def of(self, metrics):
        now = time.monotonic()
        if self.values is None or now - self.fetched_at >= self.interval:
            self.fetched_at = now
            self.values = {name: float(value) for name, value in metrics.items()}
        return self.values.copy()


def _step_class():
    if replicas.NUM_SHARDS > 1:
        from lab.training.replica_step import ReplicaStep

        return ReplicaStep
    from lab.training.torch_step import TorchStep

    return TorchStep

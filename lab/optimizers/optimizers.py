"""Keras' optimizers with the weight decay that the papers mean."""

import keras
import numpy as np
from keras import ops

from lab.optimizers.muon import Muon
from models.network import HEAD

DECOUPLED = ("adamw", "muon")
IN_OUR_STEP = ("sgd", "muon", "adam", "adamw")  # optimizers whose update `lab.optimizers.torch_update` computes
FIRST_STEPS = 9.0  # at step t of a run, a moving average takes at least FIRST_STEPS / (FIRST_STEPS + t) of the new value
OPTIMIZERS = {
    "sgd": lambda config, **common: keras.optimizers.SGD(momentum=config.momentum, nesterov=config.nesterov, **common),
    "adam": lambda config, **common: keras.optimizers.Adam(**common),
    "adamw": lambda config, **common: keras.optimizers.AdamW(weight_decay=config.weight_decay, **common),
    "muon": lambda config, **common: Muon(
        momentum=config.momentum, nesterov=config.nesterov, weight_decay=config.weight_decay or None, **common
    ),
    "rmsprop": lambda config, **common: keras.optimizers.RMSprop(momentum=config.momentum, **common),
}


def make_optimizer(config, learning_rate):
    """Return the optimizer of a config; `learning_rate` is a number or a schedule.

    AdamW and Muon multiply kernels by `1 - rate * weight_decay`, decoupled from the gradient (Loshchilov & Hutter 2019). The
    others add `weight_decay * kernel` to the gradient of every kernel: the L2 term of the papers and of torch's `weight_decay`.
    """
    common = {"learning_rate": learning_rate}
    if config.ema_decay:
        common |= {"use_ema": True, "ema_momentum": config.ema_decay}
    optimizer = OPTIMIZERS[config.optimizer](config, **common)
    optimizer.l2, optimizer.backbone_rate = 0.0, config.backbone_rate
    optimizer.is_in_our_step = config.optimizer in IN_OUR_STEP
    optimizer.rate_table = getattr(learning_rate, "table", None)  # a schedule's rates of all steps, on the device
    if config.optimizer in DECOUPLED:
        optimizer.exclude_from_weight_decay(var_names=["^(?!kernel$)"])  # a pattern: every name but that
    else:
        optimizer.l2 = config.weight_decay
    # Keras chooses the class for the backend when the optimizer is made, so ours is derived from that class.
    optimizer.__class__ = _extended(type(optimizer))
    optimizer.least_share = ops.convert_to_tensor(1.0 - config.ema_decay, "float32")
    return optimizer


def _extended(base):
    class Extended(base):
        """Optimizer with an L2 term, and with averages of the weights that soon forget the first steps.

        It records the norms of the last step's gradients, the first step at which gradients were not finite (-1: none), and
        which weights had those gradients.
        """

        def build(self, variables):
            super().build(variables)
            none = keras.initializers.Constant(-1)
            self.fault_step = self.add_variable((), none, dtype=self.iterations.dtype, name="fault_step")
            self.faulty = self.add_variable((len(variables),), dtype="bool", name="faulty")
            self.gradient_norms = self.add_variable((len(variables),), name="gradient_norms")

        def watch(self, norms):
            """Record the norms `(weights,)` of a step's gradients on the device, without reading them here."""
            is_faulty = ops.logical_not(ops.isfinite(norms))
            is_first = ops.logical_and(ops.any(is_faulty), self.fault_step.value < 0)
            self.fault_step.assign(ops.where(is_first, self.iterations.value, self.fault_step.value))
            self.faulty.assign(ops.where(is_first, is_faulty, self.faulty.value))
            self.gradient_norms.assign(norms)

        def parts(self, variables):
            """Return [(share of the learning rate, indices of its variables), ...]: all variables, or the backbone separately."""
            if self.backbone_rate == 1.0:
                return [(1.0, range(len(variables)))]
            is_head = [variable.path.startswith(HEAD) for variable in variables]
            found = [(1.0, np.flatnonzero(is_head)), (self.backbone_rate, np.flatnonzero(np.logical_not(is_head)))]
            return [(share, part) for share, part in found if len(part)]

        def average_share(self):
            """Return the share of the weights in their average at step t: 9 / (t + 9), but at least 1 - ema_decay."""
            step = ops.cast(self.iterations, "float32")
            return ops.maximum(FIRST_STEPS / (step + FIRST_STEPS), self.least_share)

        def _update_model_variables_moving_average(self, trainable_variables):
            if self.use_ema:
                share = self.average_share()
                for weight, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
                    average.assign_add((weight - average) * share)

        def _backend_update_step(self, grads, trainable_variables, learning_rate):
            self.watch(ops.stack([ops.norm(ops.reshape(gradient, (-1,))) for gradient in grads]))
            if self.l2:
                pairs = zip(grads, trainable_variables, strict=True)
                grads = [g + self.l2 * ops.cast(v, g.dtype) if v.name == "kernel" else g for g, v in pairs]
            for share, part in self.parts(trainable_variables):
                own = [grads[i] for i in part], [trainable_variables[i] for i in part]
                super()._backend_update_step(*own, learning_rate * share)

        def _apply_weight_decay(self, variables):
            """Apply decoupled weight decay to each part by itself: Keras' method uses a single rate for all variables."""
            whole = self.weight_decay
            for share, part in self.parts(variables):
                kernels = [variables[i] for i in part if self._use_weight_decay(variables[i])]
                if whole and kernels:
                    self.weight_decay = share * whole
                    super()._apply_weight_decay(kernels)
            self.weight_decay = whole

        def finalize_variable_values(self, var_list):
            """Do nothing: Keras would overwrite weights by their average, which `EvaluateAverage` and the checkpoints do."""

    Extended.__name__ = base.__name__
    return Extended

"""Peak memory of tensors, found without computing: torch runs the network on fake tensors, which have a size and no content.

The peak counts everything that is alive at the same time: weights, images, tensors kept for gradients, gradients, optimizer
slots. It does not count workspaces of libraries, gaps of the allocator and, on a CPU, the program itself.
"""

import weakref

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from foundation.settings import Config
from lab.optimizers.optimizer import make_optimizer
from lab.training.classifier import Classifier
from lab.training.forward import Inference
from lab.training.torch_step import TorchStep


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, as long as each is alive; `peak` is the maximum."""

    def __init__(self):
        super().__init__()
        self.sizes = {}  # bytes of each living storage, by its address
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.watch(tensor)
        return result

    def watch(self, tensor):
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.bytes += storage.nbytes()
            self.peak = max(self.peak, self.bytes)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key):
        self.bytes -= self.sizes.pop(key, 0)


def peak_bytes(model, batch) -> tuple[int, int]:
    """Return (peak bytes at inference, peak bytes in a training step) of a functional model on batches of float32 images.

    Training is by SGD with momentum. Afterwards the model can't compute any more: its variables are fake tensors.
    """
    classifier = Classifier.of(model, "eager")
    classifier.compile(make_optimizer(Config(ema_decay=0.0), 0.1))
    with FakeTensorMode() as fake:
        for variable in (*classifier.variables, *classifier.optimizer.variables, *classifier.metrics_variables):
            variable._value = fake.from_tensor(variable.value)
        device = classifier.trainable_variables[0].value.device
        images = torch.empty(batch, *model.input_shape[1:], device=device)
        labels = torch.empty(batch, model.output_shape[-1], device=device)
        inference, step = Inference(model), TorchStep(classifier, "eager")
        held = [images, labels, *(variable.value for variable in model.variables)]
        with torch.no_grad():
            used = _peak(held, lambda: inference(images))
        held += [variable.value for variable in classifier.optimizer.variables]
        return used, _peak(held, lambda: step(images, labels))


def _peak(held, compute):
    with LiveBytes() as live:
        for tensor in held:
            live.watch(tensor)
        compute()
    return live.peak

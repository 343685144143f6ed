"""The forward pass of a network on torch, without what Keras does around every call of a layer."""

import inspect

import torch


class Forward:
    """Calls a `models.network.Network`'s layers in the order of its calls, each in the layer's compute dtype.

    For networks of this project: no masks, no losses of layers, no variables that Keras would have to cast. It saves 0.2 ms
    a layer, several percent of a step of a small network.
    """

    def __init__(self, model, training, calls=()):
        """`calls` are functions for some of the layers, by name, in place of their own `call`: compiled ones."""
        self.training, self.given = training, dict(calls)
        self.calls = [self._call(call.layer, call.reads) for call in model.calls]
        last_call = {number: i for i, (*_, reads) in enumerate(self.calls) for number in reads}
        # results that nobody needs after a call, whose memory can serve others
        self.done = [[number for number in set(reads) if last_call[number] == i] for i, (*_, reads) in enumerate(self.calls)]

    def _call(self, layer, reads):
        options = {"training": self.training} if "training" in inspect.signature(layer.call).parameters else {}
        return self.given.get(layer.name, layer.call), options, getattr(torch, layer.compute_dtype), reads

    def __call__(self, images):
        """Return logits `(N, classes)` of images `(N, H, W, C)`."""
        results = [images]
        for (call, options, dtype, reads), done in zip(self.calls, self.done, strict=True):
            inputs = [results[number].to(dtype) for number in reads]
            for number in done:
                results[number] = None
            results.append(call(inputs if len(inputs) > 1 else inputs[0], **options))
        return results[-1]


class Inference(torch.nn.Module):
    """A network as a module that torch compiles and exports whole: images `(N, H, W, C)` to logits `(N, classes)`."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.compute = Forward(model, training=False)
        self.eval()

    def forward(self, images):
        return self.compute(images)

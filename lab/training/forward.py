"""The forward pass of a functional model on torch, without what Keras does around every call of a layer."""

import inspect

import torch


class Forward:
    """Calls a model's layers, each on what the graph says it reads, in the layer's compute dtype.

    For networks of this project: no masks, no losses of layers, no variables that Keras would have to cast. It saves 0.2 ms
    a layer, several percent of a step of a small network.
    """

    def __init__(self, model, training, calls=()):
        """`calls` are functions for some of the layers, by name, in place of their own `call`: compiled ones."""
        self.training, self.given = training, dict(calls)
        self.source, self.result = id(model.inputs[0]), id(model.outputs[0])
        by_depth = model._nodes_by_depth
        nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
        self.calls = [self._call(node) for node in nodes if not node.is_input]
        self.last_call = {read: i for i, (*_, reads, _, _) in enumerate(self.calls) for read in reads}

    def _call(self, node):
        layer = node.operation
        options = {"training": self.training} if "training" in inspect.signature(layer.call).parameters else {}
        reads = [id(tensor) for tensor in node.arguments.keras_tensors]
        takes_list = isinstance(node.arguments.args[0], list)
        return (
            self.given.get(layer.name, layer.call),
            options,
            getattr(torch, layer.compute_dtype),
            reads,
            takes_list,
            id(node.outputs[0]),
        )

    def __call__(self, images):
        """Logits `(N, classes)` of images `(N, H, W, C)`."""
        tensors = {self.source: images}
        for i, (call, options, dtype, reads, takes_list, writes) in enumerate(self.calls):
            inputs = [tensors[read].to(dtype) for read in reads]
            for read in reads:
                if self.last_call[read] == i:  # nobody needs it any more, and its memory can serve others
                    tensors.pop(read, None)
            tensors[writes] = call(inputs if takes_list else inputs[0], **options)
        return tensors[self.result]


class Inference(torch.nn.Module):
    """A functional model as a module that torch compiles and exports whole: images `(N, H, W, C)` to logits `(N, classes)`."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.compute = Forward(model, training=False)
        self.eval()

    def forward(self, images):
        return self.compute(images)

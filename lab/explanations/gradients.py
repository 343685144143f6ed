"""Feature maps inside a network, and gradients of its logits by them, on every backend."""

from keras import ops

from foundation import backend


def features_and_gradients(model, images, classes, layers):
    """Return (features, gradients): each layer's output, and the gradient by it of each image's logit of its class.

    `images` `(N, H, W, C)` are the network's input, `classes` are `(N,)`. Both results are lists of float32 tensors `(N, h, w,
    c)`. The network runs in inference mode, so no image's logits depend on another image.
    """
    places = {id(layer): i for i, layer in enumerate(layers)}
    targets = ops.one_hot(classes, model.output_shape[-1], dtype="float32")

    # An offset of zero is added to each output. It changes nothing, and the gradient by it equals the gradient by the output,
    # also inside a block and on backends that differentiate by arguments of functions only.
    def score(offsets):
        features: list = [None] * len(layers)

        def shifted(layer, call, x):
            output = call(x)
            if id(layer) not in places:
                return output
            i = places[id(layer)]
            features[i] = ops.cast(output, "float32")
            return output + ops.cast(offsets[i], output.dtype)

        return ops.sum(model.run(images, shifted) * targets), features

    return GRADIENTS[backend.name()](score, [ops.zeros(shape) for shape in _shapes(model, images, layers)])


def _shapes(model, images, layers):
    """Return the shapes of the layers' outputs for these images, found by running one image."""
    shapes = {}

    def noted(layer, call, x):
        output = call(x)
        shapes[id(layer)] = (len(images), *output.shape[1:])
        return output

    model.run(images[:1], noted)
    return [shapes[id(layer)] for layer in layers]


# Each takes a function from a list of tensors to (scalar, features), and the list; returns (features, gradients of the scalar).


def _on_torch(score, offsets):
    import torch

    for offset in offsets:
        offset.requires_grad_()
    value, features = score(offsets)
    return [feature.detach() for feature in features], list(torch.autograd.grad(value, offsets))


def _on_jax(score, offsets):
    import jax

    gradients, features = jax.grad(score, has_aux=True)(offsets)
    return features, gradients


def _on_tensorflow(score, offsets):
    import tensorflow

    with tensorflow.GradientTape() as tape:
        tape.watch(offsets)
        value, features = score(offsets)
    return features, tape.gradient(value, offsets)


GRADIENTS = {"torch": _on_torch, "jax": _on_jax, "tensorflow": _on_tensorflow}

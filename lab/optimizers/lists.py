"""Arithmetic of lists of tensors, as update rules need it: on torch one operation for all weights, elsewhere one for each.

A function whose name ends with `_` may change its first list in place; its result counts either way. A factor is a number or a
tensor without dimensions, which stays on the device.
"""

import contextlib

from keras import ops

from foundation import backend

if backend.name() == "torch":
    import torch

    unrecorded = torch.no_grad  # no gradient is taken of an update

    def mul(x, factor):
        return list(torch._foreach_mul(x, factor))

    def mul_(x, factor):
        torch._foreach_mul_(x, factor)
        return x

    def add_(x, y, share=1.0):
        torch._foreach_add_(x, y, alpha=share)
        return x

    def shift_(x, number):
        torch._foreach_add_(x, number)
        return x

    def sub(x, y):
        return list(torch._foreach_sub(x, y))

    def product(x, y):
        return list(torch._foreach_mul(x, y))

    def ratio(x, y):
        return list(torch._foreach_div(x, y))

    def root(x):
        return list(torch._foreach_sqrt(x))

    def sign(x):
        return list(torch._foreach_sign(x))

    def norms(x):
        """Return the L2 norms of all tensors, `(tensors,)`."""
        return torch.stack(torch._foreach_norm(x))

    def at(table, place):
        """Return the value of a table at a place, or its last where it is shorter."""
        return table.take(place.long().clamp(max=len(table) - 1))

    def count(variable):
        """Add 1, without a number that would have to be brought to the device."""
        variable.value.add_(1)

    def put(variables, values):
        """Give variables their new values, which on torch they have already."""

else:
    unrecorded = contextlib.nullcontext

    def mul(x, factor):
        return [a * ops.cast(factor, a.dtype) for a in x]

    mul_ = mul

    def add_(x, y, share=1.0):
        return [a + ops.cast(b, a.dtype) * ops.cast(share, a.dtype) for a, b in zip(x, y, strict=True)]

    def shift_(x, number):
        return [a + number for a in x]

    def sub(x, y):
        return [a - b for a, b in zip(x, y, strict=True)]

    def product(x, y):
        return [a * b for a, b in zip(x, y, strict=True)]

    def ratio(x, y):
        return [a / b for a, b in zip(x, y, strict=True)]

    def root(x):
        return [ops.sqrt(a) for a in x]

    def sign(x):
        return [ops.sign(a) for a in x]

    def norms(x):
        """Return the L2 norms of all tensors, `(tensors,)`."""
        return ops.stack([ops.cast(ops.norm(ops.reshape(a, (-1,))), "float32") for a in x])

    def at(table, place):
        """Return the value of a table at a place, or its last where it is shorter."""
        return ops.take(table, ops.minimum(ops.cast(place, "int32"), table.shape[0] - 1))

    def count(variable):
        """Add 1."""
        variable.assign_add(1)

    def put(variables, values):
        """Give variables their new values."""
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

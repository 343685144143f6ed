"""Muon: steps whose singular values are all alike."""

import keras
from keras import ops

REACH = 0.2  # the norm (spectral) of a kernel's step at a learning rate of 1; with it, rates that suit SGD suit Muon
# Of the quintic x -> a x + b x^3 + c x^5, iterated: fast rather than exact, singular values end within about 0.7 and 1.2.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(keras.optimizers.SGD):
    """SGD whose steps of convolution kernels are made orthogonal (Jordan et al. 2024, "Muon: An optimizer for hidden layers").

    The step that SGD with momentum would take, as a matrix `(filters, height * width * channels)`, gives way to the
    orthogonal one nearest to it, `REACH * learning rate` long in every direction: directions with small gradients
    move as far as those with large ones. All other weights take SGD's step.
    """

    def update_step(self, gradient, variable, learning_rate):
        rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype) * -rate
        if self.momentum:
            velocity = self.momentums[self._get_variable_index(variable)]
            self.assign(velocity, velocity * self.momentum + step)
            step = step + velocity * self.momentum if self.nesterov else velocity
        self.assign_add(variable, self.directed([step], rate)[0])

    def directed(self, steps, rate):
        """The steps of all weights, those of convolution kernels made orthogonal; kernels of one shape at once."""
        steps, by_shape = list(steps), {}
        for i, step in enumerate(steps):
            if len(step.shape) == 4:
                by_shape.setdefault(tuple(step.shape), []).append(i)
        for shape, indices in by_shape.items():
            matrices = ops.stack([ops.transpose(ops.reshape(steps[i], (-1, shape[-1]))) for i in indices])
            for i, matrix in zip(indices, ops.unstack(orthogonalize(matrices) * (REACH * rate)), strict=True):
                steps[i] = ops.reshape(ops.transpose(matrix), shape)
        return steps


def orthogonalize(matrices):
    """About the nearest matrices with singular values of 1 to `(K, rows, columns)`: U V^T of their U S V^T.

    By Newton-Schulz iterations, which are products of matrices only; a matrix of zeros stays one.
    """
    a, b, c = QUINTIC
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = ops.transpose(matrices, (0, 2, 1)) if is_tall else matrices
    x = x / (ops.sqrt(ops.sum(ops.square(x), axis=(1, 2), keepdims=True)) + 1e-30)
    for _ in range(ITERATIONS):
        square = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x, (0, 2, 1)) if is_tall else x

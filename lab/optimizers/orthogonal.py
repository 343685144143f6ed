"""Steps with equal singular values, which the rule `muon` gives convolution kernels."""

from keras import ops

REACH = 0.2  # spectral norm of a kernel's step at a learning rate of 1; with it, rates that suit SGD suit Muon
# Coefficients of the iterated quintic x -> a x + b x^3 + c x^5: fast rather than exact, singular values end in about 0.7 to 1.2.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonal_steps(steps, rate):
    """Return the steps of all weights, with those of convolution kernels `(kh, kw, C_in, C_out)` made orthogonal.

    A kernel's step is viewed as a matrix `(C_out, kh * kw * C_in)`. The nearest orthogonal matrix replaces it, `REACH * rate`
    long in every direction: directions with small gradients move as far as those with large ones (Jordan et al. 2024, "Muon:
    An optimizer for hidden layers").
    """
    steps = list(steps)
    kernels = [i for i, step in enumerate(steps) if len(step.shape) == 4]
    matrices = [ops.reshape(steps[i], (-1, steps[i].shape[-1])) for i in kernels]
    for i, matrix in zip(kernels, orthogonalize(matrices), strict=True):
        steps[i] = ops.reshape(matrix * (REACH * rate), steps[i].shape)
    return steps


def orthogonalize(matrices):
    """Return about the nearest matrices with singular values of 1 to those of a list: U V^T of U S V^T, zeros for zeros.

    The method is Newton-Schulz iterations, which need only products of matrices. An iteration multiplies x by a polynomial of
    its Gram matrix x x^T, or x^T x, whichever is smaller. All polynomials of a matrix commute, so the polynomials of all
    iterations, which are small and of few sizes, are multiplied first, and the matrix itself once.
    """
    grams = [ops.matmul(*((x, ops.transpose(x)) if _is_wide(x) else (ops.transpose(x), x))) for x in matrices]
    of_size = {}
    for i, gram in enumerate(grams):
        of_size.setdefault(gram.shape[0], []).append(i)
    found = [None] * len(matrices)
    for indices in of_size.values():
        factors = _polynomial(ops.stack([grams[i] for i in indices]))
        for i, factor in zip(indices, ops.unstack(factors), strict=True):
            found[i] = ops.matmul(factor, matrices[i]) if _is_wide(matrices[i]) else ops.matmul(matrices[i], factor)
    return found


def _is_wide(matrix):
    return matrix.shape[0] < matrix.shape[1]


def _polynomial(gram):
    """Return the product of all iterations' polynomials for Gram matrices `(K, n, n)`.

    The matrices themselves are scaled to a Frobenius norm of 1 first.
    """
    a, b, c = QUINTIC
    unit = ops.cast(ops.eye(gram.shape[1]), gram.dtype)
    scale = ops.rsqrt(ops.sum(gram * unit, axis=(1, 2), keepdims=True) + 1e-30)
    gram, product = gram * ops.square(scale), unit * scale
    for _ in range(ITERATIONS):
        factor = a * unit + ops.matmul(gram, b * unit + c * gram)
        gram, product = ops.matmul(factor, ops.matmul(gram, factor)), ops.matmul(factor, product)
    return product

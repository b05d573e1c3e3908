# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Central differences in float64."""

import numpy as np

# Five-point stencil: weights of f(x + j h) in f'(x) h, error O(h^4).
STENCIL = ((-2, 1.0 / 12.0), (-1, -2.0 / 3.0), (1, 2.0 / 3.0), (2, -1.0 / 12.0))


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def projected(function, cotangents):
    """The scalar function whose gradient the vector-Jacobian product is."""

    def scalar(*inputs):
        results = as_tuple(function(*inputs))
        return sum(np.sum(c * y) for c, y in zip(cotangents, results) if c is not None)

    return scalar


def along(function, inputs, index, direction, h):
    """Derivative of `function` when input `index` moves in `direction`."""

    def moved(step):
        return [x + step * direction if i == index else x for i, x in enumerate(inputs)]

    return sum(weight * function(*moved(j * h)) for j, weight in STENCIL) / h


def central_difference(function, inputs, index, cotangents, h=1e-4):
    """Gradient of <cotangents, function(inputs)> with respect to every element of input `index`."""
    scalar = projected(function, cotangents)
    x = np.asarray(inputs[index], dtype=np.float64)
    gradient = np.zeros(x.shape)
    for position in np.ndindex(x.shape):
        direction = np.zeros(x.shape)
        direction[position] = 1.0
        gradient[position] = along(scalar, inputs, index, direction, h)
    return gradient


def relative_error(got, expected, floor=0.0):
    """Largest difference over the largest expected magnitude, or over `floor` where that is larger.

    The difference itself where all is zero and there is no floor.
    """
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if got.shape != expected.shape:
        raise ValueError(f"expected shape {expected.shape}, but got {got.shape}")
    difference = float(np.max(np.abs(got - expected), initial=0.0))
    size = float(np.max(np.abs(expected), initial=floor))
    if not np.isfinite(difference):
        return np.inf
    return difference / size if size > 0.0 else difference

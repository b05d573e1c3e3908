# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Embedding, linear layers, activations and norms."""

import math

import numpy as np

from .stream import EPS, dot, rms, sigmoid

erf = np.vectorize(math.erf, otypes=[np.float64])


def embedding(tokens, table):
    return table[tokens]


def embedding_vjp(tokens, dy, rows):
    table = np.zeros((rows, dy.shape[-1]))
    np.add.at(table, tokens, dy)
    return table


def linear(x, w, transpose_weight=False):
    return x @ (w if transpose_weight else w.T)


def weight_grad(dy, x):
    rows = tuple(range(x.ndim - 1))
    return np.tensordot(dy, x, axes=(rows, rows))


def linear_vjp(x, w, dy):
    return dy @ w, weight_grad(dy, x)


def split_groups(x, groups):
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def gain(x, weight):
    groups = x.shape[-1] // weight.shape[0]
    return (split_groups(x, groups) * weight).reshape(x.shape)


def gain_vjp(x, weight, dy):
    groups = x.shape[-1] // weight.shape[0]
    products = split_groups(dy * x, groups)
    return gain(dy, weight), np.sum(products, axis=tuple(range(products.ndim - 1)))


def rms_norm(x, weight=None, groups=1, factor=1.0, eps=EPS):
    parts = split_groups(x, groups)
    y = (factor * parts / rms(parts, eps)).reshape(x.shape)
    return y if weight is None else gain(y, weight)


def inverse_rms(x, groups=1, eps=EPS):
    return 1 / rms(split_groups(x, groups), eps)[..., 0]


def rms_norm_vjp(x, dy, inverse=None, groups=1, factor=1.0, eps=EPS):
    """Of the norm without gain, as nag.rms_norm_vjp: with `inverse`, x is the norm's result."""
    if inverse is not None:
        x = (split_groups(x, groups) / (factor * inverse[..., None])).reshape(x.shape)
    parts, dparts = split_groups(x, groups), split_groups(dy, groups)
    rho = rms(parts, eps)
    n = parts / rho
    dx = factor * (dparts - n * dot(dparts, n) / parts.shape[-1]) / rho
    return dx.reshape(x.shape)


def relu2(x):
    return np.maximum(x, 0.0) ** 2


def relu2_vjp(x, dy):
    return 2.0 * np.maximum(x, 0.0) * dy


def gelu(x, approximate_tanh=False):
    """The erf form by default; the tanh form where the op says so."""
    if approximate_tanh:
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def gelu_vjp(x, dy, approximate_tanh=False):
    if approximate_tanh:
        t = np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))
        inner = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)
        return dy * (0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner)
    density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return dy * (0.5 * (1.0 + erf(x / math.sqrt(2.0))) + x * density)


def swiglu(x, up):
    return x * sigmoid(x) * up


def swiglu_vjp(x, up, dy):
    a = sigmoid(x)
    return dy * up * (a + x * a * (1.0 - a)), dy * x * a

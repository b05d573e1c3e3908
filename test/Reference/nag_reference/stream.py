# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The residual stream: encode, modulate, rotate, decode (equations 3-5, 10-18)."""

import numpy as np

EPS = 2.0**-23
GATE_FLOOR = 1e-6


def rms(x, eps=0.0):
    return np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def dot(a, b):
    return np.sum(a * b, axis=-1, keepdims=True)


def sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(p):
    e = np.exp(p - np.max(p, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def softmax_vjp(p, dy):
    y = softmax(p)
    return y * (dy - dot(y, dy))


def encode(x, g):
    rho = rms(x)
    return x / rho, np.log(rho[..., 0]) + g


def encode_vjp(x, dr, ds):
    d = x.shape[-1]
    rho = rms(x)
    r = x / rho
    return (dr - r * dot(dr, r) / d + ds[..., None] * r / d) / rho, np.sum(ds)


def gate(z, b, p, beta, alpha, scale=1.0):
    """`z` holds the products <w_i, r> of the modulator; one gate per row."""
    q = np.maximum(sigmoid(z + b) @ softmax(p), GATE_FLOOR)
    return scale * alpha * q ** np.logaddexp(0.0, beta)


def gate_vjp(z, b, p, beta, alpha, dg, scale=1.0):
    a, mixture = sigmoid(z + b), softmax(p)
    mean = a @ mixture
    q = np.maximum(mean, GATE_FLOOR)
    exponent = np.logaddexp(0.0, beta)
    m = q**exponent
    dm = scale * alpha * dg
    dq = np.where(mean > GATE_FLOOR, dm * exponent * m / q, 0.0)[..., None]
    dz = dq * mixture * a * (1.0 - a)
    rows = tuple(range(z.ndim - 1))
    dbeta = np.sum(dm * m * np.log(q)) * sigmoid(beta)
    return dz, np.sum(dz, rows), softmax_vjp(p, np.sum(dq * a, rows)), dbeta, np.sum(scale * m * dg)


def modulate(r, w, b, p, beta, alpha, scale=1.0):
    return gate(r @ w.T, b, p, beta, alpha, scale)


def modulate_vjp(r, w, b, p, beta, alpha, dg, scale=1.0):
    dz, db, dp, dbeta, dalpha = gate_vjp(r @ w.T, b, p, beta, alpha, dg, scale)
    dw = np.tensordot(dz, r, axes=(range(dz.ndim - 1), range(r.ndim - 1)))
    return dz @ w, dw, db, dp, dbeta, dalpha


def branch_parts(r, f, eps):
    """c, k, u, n, v of section 3; a branch along r gives v = 0 also where eps is 0."""
    c = f - np.mean(f, axis=-1, keepdims=True)
    k = dot(c, r) / dot(r, r)
    u = c - k * r
    n = rms(u, eps)
    return c, k, n, np.divide(u, n, out=np.zeros_like(u), where=n > 0)


def rotate(r, s, f, g, eps=EPS):
    v = branch_parts(r, f, eps)[-1]
    y = r + g[..., None] * v
    return y / rms(y, eps), s + 0.5 * np.log1p(g * g)


def rotate_vjp(r, f, g, dr_new, ds_new, eps=EPS):
    """Section 3.2: dr (without the path through the branch), df, dg; the cotangent of s is ds_new itself."""
    d, column = r.shape[-1], g[..., None]
    c, k, n, v = branch_parts(r, f, eps)
    y = r + column * v
    rho = rms(y, eps)
    r_new = y / rho
    dy = (dr_new - r_new * dot(dr_new, r_new) / d) / rho
    dg = dot(dy, v)[..., 0] + ds_new * g / (1.0 + g * g)
    dv = column * dy
    du = np.divide(dv - v * dot(dv, v) / d, n, out=np.zeros_like(v), where=n > 0)
    q = dot(du, r) / dot(r, r)
    dr = dy - k * du - q * (c - 2.0 * k * r)
    dc = du - q * r
    return dr, dc - np.mean(dc, axis=-1, keepdims=True), dg


def temper(x, s, factor=1.0):
    return factor * np.exp(s)[..., None] * x


def temper_vjp(x, s, dy, factor=1.0):
    scale = factor * np.exp(s)[..., None]
    return scale * dy, dot(scale * dy, x)[..., 0]


def decode(r, s, w):
    return temper(r @ w.T, s, 1.0 / r.shape[-1])


def decode_vjp(r, s, w, dlogits):
    dproducts, ds = temper_vjp(r @ w.T, s, dlogits, 1.0 / r.shape[-1])
    dw = np.tensordot(dproducts, r, axes=(range(r.ndim - 1), range(r.ndim - 1)))
    return dproducts @ w, ds, dw

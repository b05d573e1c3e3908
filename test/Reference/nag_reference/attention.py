# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Causal attention with its T x T matrix written out, and the rotary embedding (section 7)."""

import numpy as np


def rotary_table(length, head_dim, base=1e5, first=0):
    frequency = base ** (-2.0 * np.arange(head_dim // 2) / head_dim)
    angle = np.outer(first + np.arange(length), frequency)
    return np.cos(angle), np.sin(angle)


def split_heads(x, heads):
    """[B, T, heads*hd] to [B, heads, T, hd]."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).swapaxes(-2, -3)


def join_heads(x):
    y = x.swapaxes(-2, -3)
    return y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])


def rotary(x, cos, sin, heads, inverse=False):
    sin = -sin if inverse else sin
    x1, x2 = np.split(split_heads(x, heads), 2, axis=-1)
    return join_heads(np.concatenate([x1 * cos + x2 * sin, -x1 * sin + x2 * cos], axis=-1))


def rotary_vjp(dy, cos, sin, heads):
    return rotary(dy, cos, sin, heads, inverse=True)


def visible(length, window):
    """[t, j] is true where position t sees position j: j in t-window..t, or 0..t without a window."""
    t, j = np.arange(length)[:, None], np.arange(length)[None, :]
    return (j <= t) & ((window is None) | (t - j <= (window or 0)))


def key_value_heads(x, heads, kv_heads):
    """Query head h reads key and value head h // (heads / kv_heads)."""
    return np.repeat(split_heads(x, kv_heads), heads // kv_heads, axis=1)


def sum_shared_heads(x, kv_heads):
    b, heads, t, hd = x.shape
    return join_heads(x.reshape(b, kv_heads, heads // kv_heads, t, hd).sum(axis=2))


def probabilities(q, k, window, there=None):
    """`there` [B, T] says which keys exist (all); a query that sees none has probabilities 0."""
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    seen = visible(q.shape[-2], window)
    if there is not None:
        seen = seen & there[:, None, None, :]
    scores = np.where(seen, scores, -np.inf)
    top = np.max(scores, axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    total = np.sum(np.exp(scores - top), axis=-1, keepdims=True)
    lse = top + np.log(np.where(total > 0.0, total, 1.0))
    return np.exp(scores - lse), lse[..., 0]


def attention(q, k, v, heads, kv_heads, window=None, there=None):
    """Result [B, T, heads*hd] and log-sum-exp [B, heads, T]."""
    k, v = key_value_heads(k, heads, kv_heads), key_value_heads(v, heads, kv_heads)
    p, lse = probabilities(split_heads(q, heads), k, window, there)
    return join_heads(p @ v), lse


def attention_vjp(q, k, v, do, heads, kv_heads, window=None, there=None):
    k, v = key_value_heads(k, heads, kv_heads), key_value_heads(v, heads, kv_heads)
    q, do = split_heads(q, heads), split_heads(do, heads)
    p, _ = probabilities(q, k, window, there)
    dp = do @ v.swapaxes(-1, -2)
    dscores = p * (dp - np.sum(p * dp, axis=-1, keepdims=True)) / np.sqrt(q.shape[-1])
    dk, dv = dscores.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ do
    return join_heads(dscores @ k), sum_shared_heads(dk, kv_heads), sum_shared_heads(dv, kv_heads)

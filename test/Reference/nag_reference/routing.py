# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Depth routing (section 4): which tokens a sub-layer executes, and the rows of these alone."""

import numpy as np

from .stream import sigmoid


def kept(rate, length):
    """How many of `length` tokens a capacity executes."""
    return length - int(rate * length + 1e-9)


def executed(scores, policy, dial):
    """[B, T], true where |score| is selected: by a threshold, or as one of the largest, of equals the earlier."""
    size = np.abs(scores)
    if policy != "capacity":
        return ~(size < dial)
    order = np.argsort(-size, axis=-1, kind="stable")
    mask = np.zeros(scores.shape, bool)
    np.put_along_axis(mask, order[:, :kept(dial, scores.shape[1])], True, axis=-1)
    return mask


def route(scores, policy, dial, rows=None):
    """Indices of the executed tokens, -1 behind the last, and the offsets of the sequences."""
    mask = executed(scores, policy, dial)
    offsets = np.concatenate([[0], np.cumsum(mask.sum(axis=-1))]).astype(np.int32)
    indices = np.full(mask.size if rows is None else rows, -1, np.int32)
    indices[:offsets[-1]] = np.flatnonzero(mask)
    return indices, offsets


def take(x, indices, offsets):
    """The rows taken (zero behind the last) and the rest, where they are zero."""
    flat, live = x.reshape(-1, *x.shape[2:]), indices[:offsets[-1]]
    rows, rest = np.zeros((len(indices), *x.shape[2:])), np.array(flat)
    rows[:len(live)] = flat[live]
    rest[live] = 0.0
    return rows, rest.reshape(x.shape)


def put(rows, rest, indices, offsets):
    flat, live = np.array(rest.reshape(-1, *rest.shape[2:])), indices[:offsets[-1]]
    flat[live] = rows[:len(live)]
    return flat.reshape(rest.shape)


def rotary_at(x, cos, sin, indices, heads, inverse=False):
    """Row m stands at position indices[m] modulo the table's length."""
    x1, x2 = np.split(x.reshape(len(x), heads, -1), 2, axis=-1)
    c, s = cos[indices % len(cos)][:, None], sin[indices % len(sin)][:, None]
    s = -s if inverse else s
    return np.concatenate([x1 * c + x2 * s, -x1 * s + x2 * c], axis=-1).reshape(x.shape)


def segments(k, indices, offsets):
    """Per sequence: its rows among the executed, their places, and the rows and places of its keys."""
    for b, (begin, end) in enumerate(zip(offsets, offsets[1:])):
        rows = slice(begin, end)
        if k.ndim == 2:
            yield rows, indices[rows], rows, indices[rows]
        else:
            yield rows, indices[rows], b, b * k.shape[1] + np.arange(k.shape[1])


def heads_of(x, heads):
    """[rows, heads*hd] as [heads, rows, hd]."""
    return x.reshape(len(x), heads, -1).swapaxes(0, 1)


def rows_of(x):
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def weights(q, k, places, key_places, window):
    """Probabilities [heads, queries, keys] and log-sum-exp."""
    distance = places[:, None] - key_places[None, :]
    seen = (distance >= 0) & ((window is None) | (distance <= (window or 0)))
    scores = np.where(seen, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), -np.inf)
    top = np.max(scores, axis=-1, keepdims=True, initial=-1e300)
    lse = top + np.log(np.sum(np.exp(scores - top), axis=-1, keepdims=True))
    return np.exp(scores - lse), lse[..., 0]


def routed_attention(q, k, v, indices, offsets, heads, kv_heads, window=None):
    """Result [M, heads*hd] and log-sum-exp [heads, M]; `k` and `v` are [B, T, d], or [M, d] where keys are routed too."""
    out, lse = np.zeros(q.shape), np.zeros((heads, len(q)))
    for rows, places, keys, key_places in segments(k, indices, offsets):
        shared = heads // kv_heads
        p, sums = weights(heads_of(q[rows], heads), np.repeat(heads_of(k[keys], kv_heads), shared, axis=0), places,
                          key_places, window)
        out[rows] = rows_of(p @ np.repeat(heads_of(v[keys], kv_heads), shared, axis=0))
        lse[:, rows] = sums
    return out, lse


def routed_attention_vjp(q, k, v, do, indices, offsets, heads, kv_heads, window=None):
    dq, dk, dv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    shared = heads // kv_heads
    for rows, places, keys, key_places in segments(k, indices, offsets):
        qs, ks = heads_of(q[rows], heads), np.repeat(heads_of(k[keys], kv_heads), shared, axis=0)
        vs, dos = np.repeat(heads_of(v[keys], kv_heads), shared, axis=0), heads_of(do[rows], heads)
        p, _ = weights(qs, ks, places, key_places, window)
        dp = dos @ vs.swapaxes(-1, -2)
        dscores = p * (dp - np.sum(p * dp, axis=-1, keepdims=True)) / np.sqrt(qs.shape[-1])
        dq[rows] = rows_of(dscores @ ks)
        for target, cotangent in ((dk, dscores.swapaxes(-1, -2) @ qs), (dv, p.swapaxes(-1, -2) @ dos)):
            summed = cotangent.reshape(kv_heads, shared, *cotangent.shape[1:]).sum(axis=1)
            target[keys] = rows_of(summed)
    return dq, dk, dv


def soft_skip(g, tau, temperature):
    return np.mean(sigmoid((tau - np.abs(g)) / temperature))


def soft_skip_vjp(g, tau, dshare, temperature):
    p = sigmoid((tau - np.abs(g)) / temperature)
    return -dshare * p * (1.0 - p) * np.sign(g) / (temperature * g.size)


def quantile(values, rate):
    flat = np.sort(np.abs(values.reshape(len(values), -1)), axis=-1)
    return flat[:, flat.shape[1] - kept(rate, flat.shape[1])]

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The loss, the optimizer and the weight constraints (section 6)."""

import numpy as np

from .stream import rms


def token_loss(logits, targets, vocab, ignore_index=-1):
    """Losses (0 where ignored) and log-sum-exp over the true vocabulary, one per row."""
    true = logits[..., :vocab]
    top = np.max(true, axis=-1)
    lse = top + np.log(np.sum(np.exp(true - top[..., None]), axis=-1))
    counted = targets != ignore_index
    picked = np.take_along_axis(true, np.where(counted, targets, 0)[..., None], axis=-1)[..., 0]
    return np.where(counted, lse - picked, 0.0), lse


def token_loss_vjp(logits, targets, dlosses, vocab, ignore_index=-1):
    _, lse = token_loss(logits, targets, vocab, ignore_index)
    dlogits = np.exp(logits - lse[..., None])
    dlogits[..., vocab:] = 0.0
    dlogits -= np.arange(logits.shape[-1]) == targets[..., None]
    return dlogits * np.where(targets != ignore_index, dlosses, 0.0)[..., None]


def head_logits(x, w, s=None, factor=1.0):
    return x @ w.T if s is None else factor * np.exp(s)[..., None] * (x @ w.T)


def head_loss(x, w, targets, s=None, vocab=None, factor=1.0, ignore_index=-1):
    """Loss per token of the logits x w^T, times factor * exp(s) where s is given."""
    return token_loss(head_logits(x, w, s, factor), targets, vocab, ignore_index)[0]


def head_loss_vjp(x, w, targets, dlosses, s=None, vocab=None, factor=1.0, ignore_index=-1):
    """The losses, dx, dw and, where s is given, ds."""
    logits = head_logits(x, w, s, factor)
    dlogits = token_loss_vjp(logits, targets, dlosses, vocab, ignore_index)
    scale = 1.0 if s is None else factor * np.exp(s)[..., None]
    dproducts = scale * dlogits
    rows = tuple(range(x.ndim - 1))
    results = (token_loss(logits, targets, vocab, ignore_index)[0], dproducts @ w,
               np.tensordot(dproducts, x, axes=(rows, rows)))
    return results if s is None else (*results, np.sum(dlogits * logits, axis=-1))


def masked_mean(values, targets, ignore_index=-1):
    """Mean over the counted positions, 0 where none counts; and their number."""
    counted = targets != ignore_index
    count = float(np.sum(counted))
    return np.sum(np.where(counted, values, 0.0)) / max(count, 1.0), count


def masked_mean_vjp(targets, dmean, ignore_index=-1):
    counted = targets != ignore_index
    return np.where(counted, dmean / max(float(np.sum(counted)), 1.0), 0.0)


def cross_entropy(logits, targets, vocab, ignore_index=-1):
    return masked_mean(token_loss(logits, targets, vocab, ignore_index)[0], targets, ignore_index)[0]


def cross_entropy_vjp(logits, targets, dloss, vocab, ignore_index=-1):
    return token_loss_vjp(logits, targets, masked_mean_vjp(targets, dloss, ignore_index), vocab, ignore_index)


def squared_norm(x):
    return np.sum(x * x)


def global_norm(tensors):
    return np.sqrt(sum(squared_norm(x) for x in tensors))


def clip_factor(norm, limit, scale):
    """The factor for the gradients and the norm before clipping; limit 0 does not clip."""
    scaled = scale * norm
    return scale * (min(1.0, limit / scaled) if limit > 0.0 and scaled > 0.0 else 1.0), scaled


def adamw(p, m, v, grad, lr, step, factor=1.0, *, lr_scale=1.0, weight_decay=0.0, beta1=0.9, beta2=0.95, eps=1e-8):
    g, eta = factor * grad, lr * lr_scale
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    update = m / (1.0 - beta1**step) / (np.sqrt(v / (1.0 - beta2**step)) + eps)
    return p - eta * (update + weight_decay * p), m, v


def constrain(w, constraint):
    """`zero_mean`, or `zero_mean_unit_rms`, which leaves a row of zeros as it is."""
    if constraint == "none":
        return w
    w = w - np.mean(w, axis=-1, keepdims=True)
    if constraint == "zero_mean":
        return w
    size = rms(w)
    return np.divide(w, size, out=np.zeros_like(w), where=size > 0)

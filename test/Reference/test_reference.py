# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every reference VJP against central differences in float64, to 1e-6 relative."""

import math
from functools import partial

import numpy as np
import pytest

import nag_reference as ref

LIMIT = 1e-6
ZERO = 1e-5  # central differences of results of size 1 see nothing below LIMIT times this


def normal(*shape, seed=0, scale=1.0):
    return scale * np.random.default_rng([seed, *shape]).normal(size=shape)


def unit_rms(x):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True))


def check(forward, vjp, inputs, h=1e-4):
    """`vjp` takes the results' cotangents and returns one gradient per input."""
    results = forward(*inputs)
    results = results if isinstance(results, tuple) else (results,)
    cotangents = [normal(*np.shape(y), seed=9 + i) for i, y in enumerate(results)]
    for index, got in enumerate(vjp(*cotangents)):
        expected = ref.central_difference(forward, inputs, index, cotangents, h)
        assert ref.relative_error(got, expected, ZERO) <= LIMIT, f"input {index}"


ROWS = {"plain": (2, 3, 8), "one token": (1, 1, 8), "T=1": (3, 1, 8), "odd d": (2, 3, 7)}


@pytest.mark.parametrize("shape", ROWS.values(), ids=ROWS)
def test_encode(shape):
    x, g = normal(*shape), np.array(0.3)
    check(ref.encode, lambda dr, ds: ref.encode_vjp(x, dr, ds), [x, g])


@pytest.mark.parametrize("beta", [-0.7, math.log(math.e - 1.0), 2.0])
@pytest.mark.parametrize("shape", ROWS.values(), ids=ROWS)
def test_modulate(shape, beta):
    inputs = [normal(*shape), normal(5, shape[-1], seed=1), normal(5, seed=2), normal(5, seed=3), np.array(beta),
              np.array(0.8)]
    forward = partial(ref.modulate, scale=0.4)
    check(forward, lambda dg: ref.modulate_vjp(*inputs, dg, scale=0.4), inputs)


def test_modulate_at_its_floor_passes_no_gradient_to_the_activations():
    z, b, p, beta, alpha = normal(4, 5), np.full(5, -40.0), normal(5), np.array(0.5), np.array(0.8)
    assert np.allclose(ref.gate(z, b, p, beta, alpha), 0.8 * 1e-6 ** np.logaddexp(0.0, 0.5), rtol=1e-12)
    dz, db, dmixture, dbeta, dalpha = ref.gate_vjp(z, b, p, beta, alpha, normal(4))
    assert not dz.any() and not db.any() and not dmixture.any()
    assert dbeta != 0.0 and dalpha != 0.0


def rotate_inputs(shape, branch=None):
    r = unit_rms(normal(*shape, seed=4))
    f = normal(*shape, seed=5) if branch is None else branch(r)
    return [r, normal(*shape[:-1], seed=6), f, normal(*shape[:-1], seed=7)]


def check_rotate(inputs, eps, h):
    r, _, f, g = inputs

    def vjp(dr_new, ds_new):
        dr, df, dg = ref.rotate_vjp(r, f, g, dr_new, ds_new, eps)
        return dr, ds_new, df, dg

    check(partial(ref.rotate, eps=eps), vjp, inputs, h)


@pytest.mark.parametrize("eps", [0.0, ref.EPS])
@pytest.mark.parametrize("shape", ROWS.values(), ids=ROWS)
def test_rotate(shape, eps):
    check_rotate(rotate_inputs(shape), eps, 1e-4)


# The update bends over a length sqrt(eps) at a branch without a part across r, hence the short step.
@pytest.mark.parametrize("branch", [np.zeros_like, lambda r: 0.7 * (r - r.mean(axis=-1, keepdims=True))],
                         ids=["zero", "parallel"])
@pytest.mark.parametrize("shape", ROWS.values(), ids=ROWS)
def test_rotate_of_a_branch_without_a_part_across_r(shape, branch):
    inputs = rotate_inputs(shape, branch)
    inputs[0] = unit_rms(inputs[0] - inputs[0].mean(axis=-1, keepdims=True))
    inputs[2] = branch(inputs[0])
    check_rotate(inputs, ref.EPS, 1e-6)
    r, s, f, g = inputs
    r_new, s_new = ref.rotate(r, s, f, g)
    assert ref.relative_error(r_new, r) <= 1e-7
    assert np.array_equal(s_new, s + 0.5 * np.log1p(g * g))


def test_rotate_of_a_zero_branch_without_eps_is_the_identity():
    r, s, f, g = rotate_inputs((2, 3, 8), np.zeros_like)
    assert ref.relative_error(ref.rotate(r, s, f, g, 0.0)[0], r) <= 1e-15
    assert all(np.isfinite(x).all() for x in ref.rotate_vjp(r, f, g, normal(2, 3, 8), normal(2, 3), 0.0))


def test_rotate_turns_by_the_angle_of_the_gate_and_keeps_rms_one():
    r, s, f, g = rotate_inputs((4, 5, 16))
    r_new, _ = ref.rotate(r, s, f, g, 0.0)
    assert ref.relative_error(np.mean(r_new**2, axis=-1), np.ones((4, 5))) <= 1e-12
    assert ref.relative_error(np.mean(r_new * r, axis=-1), np.cos(np.arctan(g))) <= 1e-12


@pytest.mark.parametrize("shape", ROWS.values(), ids=ROWS)
def test_decode(shape):
    inputs = [unit_rms(normal(*shape)), normal(*shape[:-1], seed=1), normal(6, shape[-1], seed=2)]
    check(ref.decode, lambda dy: ref.decode_vjp(*inputs, dy), inputs)


def test_temper():
    inputs = [normal(2, 3, 5), normal(2, 3)]
    check(partial(ref.temper, factor=0.25), lambda dy: ref.temper_vjp(*inputs, dy, factor=0.25), inputs)


def test_softmax():
    p = normal(6)
    check(ref.softmax, lambda dy: (ref.softmax_vjp(p, dy),), [p])


def test_embedding_adds_rows_of_repeated_tokens():
    tokens, table = np.array([[1, 4, 1], [0, 1, 4]]), normal(6, 5)
    check(partial(ref.embedding, tokens), lambda dy: (ref.embedding_vjp(tokens, dy, 6),), [table])


@pytest.mark.parametrize("transpose", [False, True])
def test_linear(transpose):
    x, w = normal(2, 3, 5), normal(5, 4) if transpose else normal(4, 5)

    def vjp(dy):
        dx, dw = ref.linear_vjp(x, w.T if transpose else w, dy)
        return dx, dw.T if transpose else dw

    check(partial(ref.linear, transpose_weight=transpose), vjp, [x, w])


ATTENTION = {"causal": (2, 5, 2, 2, 4, None), "grouped": (1, 4, 4, 2, 2, None), "window 0": (1, 4, 2, 1, 4, 0),
             "window 2": (2, 5, 2, 2, 4, 2), "window full": (1, 5, 2, 2, 4, 9), "one token": (1, 1, 2, 2, 4, None),
             "T=1": (3, 1, 2, 1, 4, 3), "odd head": (1, 3, 2, 2, 3, None)}


@pytest.mark.parametrize("case", ATTENTION.values(), ids=ATTENTION)
def test_attention(case):
    b, t, heads, kv_heads, hd, window = case
    inputs = [normal(b, t, heads * hd), normal(b, t, kv_heads * hd, seed=1), normal(b, t, kv_heads * hd, seed=2)]
    form = dict(heads=heads, kv_heads=kv_heads, window=window)
    check(lambda *x: ref.attention(*x, **form)[0], lambda do: ref.attention_vjp(*inputs, do, **form), inputs)


def test_window_zero_attends_to_the_own_position_only():
    q, k, v = normal(2, 5, 8), normal(2, 5, 8, seed=1), normal(2, 5, 8, seed=2)
    assert ref.relative_error(ref.attention(q, k, v, 2, 2, window=0)[0], v) <= 1e-15


def test_rotary_keeps_lengths_and_inverts():
    cos, sin = ref.rotary_table(5, 4, first=3)
    x = normal(2, 5, 12)
    y = ref.rotary(x, cos, sin, 3)
    assert ref.relative_error(ref.rotary(y, cos, sin, 3, inverse=True), x) <= 1e-14
    assert ref.relative_error(np.sum(y * y, axis=-1), np.sum(x * x, axis=-1)) <= 1e-14
    check(lambda x: ref.rotary(x, cos, sin, 3), lambda dy: (ref.rotary_vjp(dy, cos, sin, 3),), [x])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("shape", [(2, 3, 8), (1, 1, 6), (2, 2, 14)], ids=str)
def test_rms_norm(shape, groups):
    x = normal(*shape)
    form = dict(groups=groups, factor=1.2)
    check(lambda x: ref.rms_norm(x, **form), lambda dy: (ref.rms_norm_vjp(x, dy, **form),), [x])


def test_rms_norm_of_a_zero_row_is_finite():
    x = np.zeros((2, 8))
    check(ref.rms_norm, lambda dy: (ref.rms_norm_vjp(x, dy),), [x], h=1e-6)


def test_rms_norm_with_gain_is_gain_of_rms_norm():
    x, weight = normal(2, 3, 8), normal(4)
    got = ref.rms_norm(x, weight, groups=2)
    assert ref.relative_error(got, ref.gain(ref.rms_norm(x, groups=2), weight)) <= 1e-15


@pytest.mark.parametrize("length", [8, 4], ids=["one group", "two groups"])
def test_gain(length):
    inputs = [normal(2, 3, 8), normal(length)]
    check(ref.gain, lambda dy: ref.gain_vjp(*inputs, dy), inputs)


@pytest.mark.parametrize("forward, vjp", [(ref.relu2, ref.relu2_vjp), (ref.gelu, ref.gelu_vjp),
                                          (partial(ref.gelu, approximate_tanh=True),
                                           partial(ref.gelu_vjp, approximate_tanh=True))],
                         ids=["relu2", "gelu erf", "gelu tanh"])
def test_activation(forward, vjp):
    x = normal(2, 3, 7, scale=2.0)
    check(forward, lambda dy: (vjp(x, dy),), [x])


def test_swiglu():
    inputs = [normal(2, 3, 7, scale=2.0), normal(2, 3, 7, seed=1)]
    check(ref.swiglu, lambda dy: ref.swiglu_vjp(*inputs, dy), inputs)


@pytest.mark.parametrize("vocab", [7, 5, 1], ids=["full", "padded", "one word"])
def test_cross_entropy(vocab):
    logits, targets = normal(2, 3, 7, scale=3.0), np.array([[0, -1, vocab - 1], [vocab // 2, 0, -1]])
    check(lambda z: ref.cross_entropy(z, targets, vocab),
          lambda dy: (ref.cross_entropy_vjp(logits, targets, dy, vocab),), [logits])


def test_cross_entropy_ignores_padding_and_uncounted_tokens():
    logits, targets = normal(2, 3, 7), np.full((2, 3), -1)
    assert ref.cross_entropy(logits, targets, 5) == 0.0
    assert not ref.cross_entropy_vjp(logits, targets, 1.0, 5).any()
    targets[0, 1] = 2
    padded = logits.copy()
    padded[..., 5:] = 100.0
    assert ref.cross_entropy(logits, targets, 5) == ref.cross_entropy(padded, targets, 5)
    assert not ref.cross_entropy_vjp(padded, targets, 1.0, 5)[..., 5:].any()


def test_adamw_first_step_moves_by_the_learning_rate_against_the_sign():
    p, grad, zero = normal(3, 4), normal(3, 4, seed=1), np.zeros((3, 4))
    new, _, _ = ref.adamw(p, zero, zero, grad, 0.01, 1, eps=0.0)
    assert ref.relative_error(p - new, 0.01 * np.sign(grad)) <= 1e-12
    decayed, _, _ = ref.adamw(p, zero, zero, grad, 0.01, 1, eps=0.0, lr_scale=0.5, weight_decay=0.1)
    assert ref.relative_error(p - decayed, 0.005 * np.sign(grad) + 0.0005 * p) <= 1e-12


def test_adamw_repeats_the_definition_over_steps():
    grads = [normal(5, seed=i) for i in range(4)]
    p, m, v = normal(5, seed=8), np.zeros(5), np.zeros(5)
    for step, grad in enumerate(grads, 1):
        p, m, v = ref.adamw(p, m, v, grad, 0.0, step, factor=2.0)
    weights = [0.1 * 0.9 ** (3 - i) for i in range(4)]
    assert ref.relative_error(m, sum(w * 2.0 * g for w, g in zip(weights, grads))) <= 1e-14


def test_clipping_bounds_the_global_norm():
    tensors = [normal(3, 4), normal(5)]
    norm = ref.global_norm(tensors)
    assert abs(norm - np.linalg.norm(np.concatenate([x.ravel() for x in tensors]))) <= 1e-14 * norm
    for limit, scale, expected in [(0.5, 1.0, 0.5), (1e3, 0.25, 0.25 * norm), (0.0, 0.25, 0.25 * norm)]:
        factor, before = ref.clip_factor(norm, limit, scale)
        assert abs(factor * norm - expected) <= 1e-12 * expected and before == scale * norm


def test_constraints():
    w = normal(4, 7)
    w[2] = 3.0
    centred = ref.constrain(w, "zero_mean")
    assert np.abs(centred.mean(axis=-1)).max() <= 1e-15
    unit = ref.constrain(w, "zero_mean_unit_rms")
    assert np.abs(unit.mean(axis=-1)).max() <= 1e-15
    assert np.allclose(np.sqrt(np.mean(unit**2, axis=-1)), [1, 1, 0, 1], atol=1e-14)
    assert ref.constrain(w, "none") is w

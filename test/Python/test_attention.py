# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled attention and its VJP against the float64 reference, on shapes that meet every edge of the tiles."""

import numpy as np
import pytest
from harness import compile_text
from nag_reference.attention import attention, attention_vjp

# f32: the exponential and the sums keep about one unit in the last place; errors add up over keys and head dimension.
LIMITS = {"f32": 3e-6, "f64": 1e-13}
DTYPES = {"f32": np.float32, "f64": np.float64}

# batch, length, heads, key-value heads, head dimension, window, type
SHAPES = [
    (1, 1, 1, 1, 1, None, "f32"),     # one token, one element
    (2, 37, 4, 2, 20, None, "f32"),   # no dimension a multiple of a vector; grouped queries
    (1, 130, 2, 1, 17, None, "f64"),  # one key behind a full step of the running softmax
    (2, 128, 4, 4, 32, None, "f32"),  # whole tiles only
    (1, 300, 2, 2, 32, 5, "f32"),     # a window smaller than a tile: whole key tiles are skipped
    (1, 50, 2, 1, 7, 0, "f64"),       # every position sees itself alone
    (1, 200, 3, 3, 64, 129, "f32"),   # a window across two steps
    (1, 33, 1, 1, 24, 40, "f64"),     # a window longer than the sequence
]


def module(shape):
    batch, length, heads, kv_heads, head_dim, window, dtype = shape
    query, lse = f"tensor<{batch}x{length}x{heads * head_dim}x{dtype}>", f"tensor<{batch}x{heads}x{length}x{dtype}>"
    key = f"tensor<{batch}x{length}x{kv_heads * head_dim}x{dtype}>"
    attributes = f"heads = {heads}, kv_heads = {kv_heads}" + ("" if window is None else f", window = {window}")
    types = dict(q=query, k=key, v=key, o=query, lse=lse, do=query, dq=query, dk=key, dv=key)

    def named(names, sign):
        return ", ".join(f'{sign}{n if sign else ""}{": " if sign else ""}{types[n]} {{nag.name = "{n}"}}' for n in names)

    return f"""
func.func @forward({named(["q", "k", "v"], "%")}) -> ({named(["o", "lse"], "")}) {{
  %o, %lse = nag.attention %q, %k, %v {{{attributes}}} : ({query}, {key}, {key}) -> ({query}, {lse})
  return %o, %lse : {query}, {lse}
}}
func.func @backward({named(["q", "k", "v", "o", "lse", "do"], "%")}) -> ({named(["dq", "dk", "dv"], "")}) {{
  %dq, %dk, %dv = nag.attention_vjp %q, %k, %v, %o, %lse, %do {{{attributes}}}
      : ({query}, {key}, {key}, {query}, {lse}, {query}) -> ({query}, {key}, {key})
  return %dq, %dk, %dv : {query}, {key}, {key}
}}
"""


def error(actual, expected):
    """The largest difference, relative to the largest value or to 1: gradients vanish where one key is seen."""
    return np.abs(actual - expected).max() / max(1.0, np.abs(expected).max())


def inputs(shape):
    batch, length, heads, kv_heads, head_dim, _, dtype = shape
    generator = np.random.default_rng(7)
    return {name: generator.standard_normal((batch, length, count * head_dim)).astype(DTYPES[dtype])
            for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads), ("do", heads))}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_attention_matches_the_reference(shape, tmp_path):
    _, _, heads, kv_heads, _, window, dtype = shape
    arrays = inputs(shape)
    program = compile_text(module(shape), tmp_path)
    forward = program.call("forward", {name: arrays[name] for name in "qkv"})
    wide = {name: x.astype(np.float64) for name, x in arrays.items()}
    o, lse = attention(wide["q"], wide["k"], wide["v"], heads, kv_heads, window)
    assert error(forward["o"], o) < LIMITS[dtype] and error(forward["lse"], lse) < LIMITS[dtype]
    backward = program.call("backward", arrays | forward)
    expected = attention_vjp(wide["q"], wide["k"], wide["v"], wide["do"], heads, kv_heads, window)
    for name, gradient in zip(("dq", "dk", "dv"), expected):
        assert error(backward[name], gradient) < LIMITS[dtype], name


def test_scores_far_apart_do_not_overflow(tmp_path):
    shape = (1, 40, 1, 1, 16, None, "f32")
    arrays = {name: x * 100 for name, x in inputs(shape).items()}
    forward = compile_text(module(shape), tmp_path).call("forward", {name: arrays[name] for name in "qkv"})
    o, _ = attention(*(arrays[name].astype(np.float64) for name in "qkv"), 1, 1)
    assert np.isfinite(forward["lse"]).all() and error(forward["o"], o) < 1e-3


def test_a_nan_in_a_key_reaches_the_queries_that_see_it(tmp_path):
    shape = (1, 40, 1, 1, 16, None, "f32")
    arrays = inputs(shape)
    arrays["k"][0, 20, 3] = np.nan
    forward = compile_text(module(shape), tmp_path).call("forward", {name: arrays[name] for name in "qkv"})
    assert np.isnan(forward["o"][0, 20:]).all() and not np.isnan(forward["o"][0, :16]).any()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Rotary embedding and norms of queries and keys in the launch of their product, against float64 references on the PTX machine."""

import numpy as np
import pytest

import harness
import nag_reference as ref
import ptx_machine
from nag_reference.routing import rotary_at

# Relative to the largest element: sums in f32; factors and results of 8 and of 10 bits.
TOLERANCES = {"f32": 1e-5, "bf16": 3e-2, "tf32": 4e-3}
WIDTH, DIRECTIONS = 24, 5

MODULE = """
func.func @heads(%x: {x} {{nag.name = "x"}}, %wq: {wq} {{nag.name = "wq"}}, %wk: {wk} {{nag.name = "wk"}},
    %wm: {wm} {{nag.name = "wm"}}, %b: {b} {{nag.name = "b"}}, %s: tensor<f32> {{nag.name = "s"}},
    %c: {c} {{nag.name = "c"}}, %n: {c} {{nag.name = "n"}}{index})
    -> ({q} {{nag.name = "q"}}, {q} {{nag.name = "raw"}}, {k} {{nag.name = "k"}}, {g} {{nag.name = "g"}}) {{
  %raw = nag.linear %x, %wq : ({x}, {wq}) -> {q}
  %k0 = nag.linear %x, %wk : ({x}, {wk}) -> {k}
  %z = nag.linear %x, %wm : ({x}, {wm}) -> {z}
  %g = nag.gate %z, %b, %b, %s, %s : ({z}, {b}, {b}, tensor<f32>, tensor<f32>) -> {g}
  %q1 = nag.rotary %raw, %c, %n{at} {{heads = {heads}}} : ({q}, {c}, {c}{at_type}) -> {q}
  %k1 = nag.rotary %k0, %c, %n{at} {{heads = {kv_heads}}} : ({k}, {c}, {c}{at_type}) -> {k}
  {norms}
  return %q2, %raw, %k2, %g : {q}, {q}, {k}, {g}
}}
"""
NORMS = """%q2 = nag.rms_norm %q1 {{groups = {heads}, factor = 1.2}} : ({q}) -> {q}
  %k2 = nag.rms_norm %k1 {{groups = {kv_heads}, factor = 1.2}} : ({k}) -> {k}"""


class Heads:
    """Queries and keys of `batch` sequences of `length` tokens, or with `indices` of the tokens these name."""

    def __init__(self, head_dim, heads, kv_heads, batch, length, normed=True, indices=None):
        self.head_dim, self.heads, self.kv_heads = head_dim, heads, kv_heads
        self.normed = normed
        self.indices = None if indices is None else np.array(indices, np.int32)
        rows = (batch, length) if indices is None else (len(indices),)
        shapes = {"x": (*rows, WIDTH), "wq": (heads * head_dim, WIDTH), "wk": (kv_heads * head_dim, WIDTH),
                  "wm": (DIRECTIONS, WIDTH), "b": (DIRECTIONS,), "c": (length, head_dim // 2), "q": (*rows, heads * head_dim),
                  "k": (*rows, kv_heads * head_dim), "z": (*rows, DIRECTIONS), "g": rows}
        random = np.random.default_rng(head_dim + length)
        self.inputs = {name: random.standard_normal(shapes[name]).astype(np.float32) for name in ("x", "wq", "wk", "wm", "b")}
        cos, sin = ref.rotary_table(length, head_dim)
        self.inputs |= {"c": cos.astype(np.float32), "n": sin.astype(np.float32), "s": np.array(0.7, np.float32)}
        self.types = {name: f"tensor<{'x'.join(map(str, shape))}xf32>" for name, shape in shapes.items()}

    def text(self):
        at = ("", "", "")
        if self.indices is not None:
            index = f"tensor<{len(self.indices)}xi32>"
            at = (f', %i: {index} {{nag.name = "i"}}', ", %i", f", {index}")
        names = dict(self.types, heads=self.heads, kv_heads=self.kv_heads, index=at[0], at=at[1], at_type=at[2])
        if self.normed:
            return MODULE.format(norms=NORMS.format(**names), **names)
        return MODULE.replace("%q2", "%q1").replace("%k2", "%k1").format(norms="", **names)

    def expected(self):
        x = {name: array.astype(np.float64) for name, array in self.inputs.items()}

        def turned(weight, heads):
            y = ref.linear(x["x"], weight)
            if self.indices is None:
                y = ref.rotary(y, x["c"], x["n"], heads)
            else:
                y = rotary_at(y, x["c"], x["n"], self.indices, heads)
            return ref.rms_norm(y, groups=heads, factor=1.2) if self.normed else y

        gate = ref.gate(ref.linear(x["x"], x["wm"]), x["b"], x["b"], x["s"], x["s"])
        return {"q": turned(x["wq"], self.heads), "raw": ref.linear(x["x"], x["wq"]), "k": turned(x["wk"], self.kv_heads),
                "g": gate}


def check(case, precision, folder, launches=1, options=(), chip="sm_80"):
    inputs = dict(case.inputs)
    if case.indices is not None:
        inputs["i"] = case.indices
    outcome = ptx_machine.call(harness.build_folder(), case.text(), [("heads", inputs)], folder, counters=True, chip=chip,
                               options=[f"--precision={precision}", *options])
    names = [name for name in outcome.counters if "linear" in name or "rotary" in name or "gate" in name]
    assert len(names) == launches, names
    for name, expected in case.expected().items():
        assert ref.relative_error(outcome.results[0][name], expected) <= TOLERANCES[precision], name


@pytest.mark.parametrize("precision", ["f32", "bf16", "tf32"])
@pytest.mark.parametrize("head_dim, heads, kv_heads, batch, length",
                         [(16, 3, 1, 1, 7), (32, 2, 2, 3, 5), (64, 5, 1, 1, 33), (128, 3, 1, 2, 37)])
def test_heads_are_turned_and_normed_where_their_product_is(precision, head_dim, heads, kv_heads, batch, length, tmp_path):
    """One launch with the gate's; rows and heads that fill no tile, one head and several."""
    check(Heads(head_dim, heads, kv_heads, batch, length), precision, tmp_path)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_heads_without_norms(precision, tmp_path):
    check(Heads(32, 3, 1, 1, 9, normed=False), precision, tmp_path, chip="sm_90a")


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_positions_that_indices_name(precision, tmp_path):
    check(Heads(32, 2, 1, 2, 11, indices=[3, 0, 20, 13, 7]), precision, tmp_path)


@pytest.mark.parametrize("case, launches", [(Heads(24, 3, 2, 1, 5), 2), (Heads(8, 4, 2, 1, 5), 2)])
def test_heads_that_lanes_do_not_hold(case, launches, tmp_path):
    """24 columns are no power of two, 8 are too few: their ops are a launch behind that of the products and the gate."""
    check(case, "f32", tmp_path, launches)


def test_apart(tmp_path):
    """Three products and what is rowwise behind them."""
    check(Heads(32, 2, 1, 1, 5), "f32", tmp_path, launches=5, options=["--fuse=false"])

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ops that products of the target cuda compute as they load their operands, on the PTX machine with all of its checks: against numpy,
and against the same program without fusion."""

import functools
import math
import re

import ml_dtypes
import numpy as np
import ptx_machine
import pytest

from harness import build_folder, run

DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16}
# Relative to the largest element; bf16 results and what unfused kernels store of the operand are rounded to bf16.
LIMITS = {("f32", "f32"): 1e-5, ("f32", "tf32"): 2e-3, ("bf16", "f32"): 1e-2}
ELEMENTS = [("f32", "f32"), ("f32", "tf32"), ("bf16", "f32")]

# The op, and what it makes of rows z and their scalars a and c. The last two do not keep zero, so tiles' edges show.
OPS = {
    "relu2": ("nag.relu2 %z : (ROWS) -> ROWS", lambda z, a, c: np.maximum(z, 0)**2),
    "gelu": ("nag.gelu %z : (ROWS) -> ROWS", lambda z, a, c: z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2),
    "scale": ("nag.row_combine %z by %a : (ROWS, LANES) -> ROWS", lambda z, a, c: a * z),
    "scale and shift": ("nag.row_combine %z by %a plus %c : (ROWS, LANES, LANES) -> ROWS", lambda z, a, c: a * z + c),
    "exp": ("math.exp %z : ROWS", lambda z, a, c: np.exp(z)),
}
# Rows, columns of z, columns of the result.
SHAPES = [(1, 1, 1), (70, 33, 100), (257, 130, 65)]
CASES = [(op, shape, *element) for op, shapes in (("relu2", SHAPES), ("scale and shift", SHAPES), ("gelu", SHAPES[1:2]),
                                                  ("scale", SHAPES[1:2]), ("exp", SHAPES[1:2]))
         for shape in shapes for element in ELEMENTS]


def text_of(case, name):
    """y reads z along its columns, dw and dv along its rows, as either operand."""
    op, (rows, inner, outer), element, _ = case
    types = dict(z=f"tensor<{rows}x{inner}x{element}>", a=f"tensor<{rows}xf32>", c=f"tensor<{rows}xf32>",
                 w=f"tensor<{outer}x{inner}x{element}>", d=f"tensor<{rows}x{outer}x{element}>")
    dw, dv = types["w"], f"tensor<{inner}x{outer}x{element}>"
    z, body = types["z"], OPS[op][0].replace("ROWS", types["z"]).replace("LANES", types["a"])
    functions = {"y": ("nag.linear %h, %w", f"({z}, {types['w']})", types["d"]),
                 "dw": ("nag.weight_grad %d, %h", f"({types['d']}, {z})", dw),
                 "dv": ("nag.weight_grad %h, %d", f"({z}, {types['d']})", dv)}
    return "".join(f"""
func.func @{name}_{result}({", ".join(f'%{n}: {t} {{nag.name = "{n}"}}' for n, t in types.items())}) -> ({type} {{nag.name = "{result}"}}) {{
  %h = {body}
  %r = {product} : {operands} -> {type}
  return %r : {type}
}}
""" for result, (product, operands, type) in functions.items())


def inputs_of(case):
    _, (rows, inner, outer), element, _ = case
    generator = np.random.default_rng(rows + inner)
    dtype = DTYPES[element]
    return dict(z=generator.standard_normal((rows, inner)).astype(dtype), w=generator.standard_normal((outer, inner)).astype(dtype),
                d=generator.standard_normal((rows, outer)).astype(dtype), a=generator.standard_normal(rows).astype(np.float32),
                c=generator.standard_normal(rows).astype(np.float32))


def expected_of(case):
    wide = {name: array.astype(np.float64) for name, array in inputs_of(case).items()}
    h = OPS[case[0]][1](wide["z"], wide["a"][:, None], wide["c"][:, None])
    return dict(y=h @ wide["w"].T, dw=wide["d"].T @ h, dv=h.T @ wide["d"])


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    @functools.cache
    def compute(option, fuse):
        cases = [case for case in CASES if case[3] == option]
        texts, calls = [], []
        for number, case in enumerate(cases):
            texts.append(text_of(case, f"f{number}"))
            calls += [(f"f{number}_{result}", inputs_of(case)) for result in ("y", "dw", "dv")]
        outcome = ptx_machine.call(build_folder(), "".join(texts), calls, tmp_path_factory.mktemp(f"{option}-{fuse}"), counters=True,
                                   options=("--precision", option, f"--fuse={fuse}"))
        results = [{**outcome.results[3 * i], **outcome.results[3 * i + 1], **outcome.results[3 * i + 2]} for i in range(len(cases))]
        return dict(zip(cases, results)), list(outcome.counters)
    return compute


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case, outcome):
    expected = expected_of(case)
    fused, apart = (outcome(case[3], fuse)[0][case] for fuse in ("true", "false"))
    for name, wanted in expected.items():
        largest = np.abs(wanted).max()
        for actual in (fused, apart):
            assert np.abs(actual[name].astype(np.float64) - wanted).max() <= LIMITS[case[2:]] * largest, name


@pytest.mark.parametrize("option", ["f32", "tf32"])
def test_operands_are_not_in_memory(option, outcome):
    """Every launch is a product's."""
    names = outcome(option, "true")[1]
    assert names and all("linear" in name or "weight_grad" in name for name in names), names
    assert any(name.startswith("relu2_linear") for name in names), names
    assert any(name.startswith("relu2_kernel") for name in outcome(option, "false")[1])


# Batch, length, columns of z, columns of the result, executed tokens, rows of the buffers.
ROUTED = [(1, 1, 4, 3, 1, 1), (2, 20, 12, 20, 0, 40), (3, 50, 36, 33, 71, 150), (2, 150, 17, 64, 200, 300)]


def routed_text_of(op, shape, element, name):
    batch, length, inner, outer, _, rows = shape
    types = dict(x=f"tensor<{batch}x{length}x{inner}x{element}>", w=f"tensor<{outer}x{inner}x{element}>", d=f"tensor<{rows}x{outer}x{element}>",
                 a=f"tensor<{rows}xf32>", c=f"tensor<{rows}xf32>", i=f"tensor<{rows}xi32>", o=f"tensor<{batch + 1}xi32>")
    z, body = f"tensor<{rows}x{inner}x{element}>", OPS[op][0]
    return f"""
func.func @{name}({", ".join(f'%{n}: {t} {{nag.name = "{n}"}}' for n, t in types.items())})
    -> ({types["d"]} {{nag.name = "y"}}, {types["w"]} {{nag.name = "dw"}}) {{
  %z, %rest = nag.take %x, %i, %o : ({types["x"]}, {types["i"]}, {types["o"]}) -> ({z}, {types["x"]})
  %h = {body.replace("ROWS", z).replace("LANES", types["a"])}
  %y = nag.linear %h, %w : ({z}, {types["w"]}) -> {types["d"]}
  %dw = nag.weight_grad %d, %h : ({types["d"]}, {z}) -> {types["w"]}
  return %y, %dw : {types["d"]}, {types["w"]}
}}
"""


@pytest.mark.parametrize("option", ["f32", "tf32"])
def test_rows_that_an_index_names(option, tmp_path):
    """What is loaded is found by the index; neither rows nor scalars that do not count are seen."""
    cases = [(op, shape, element) for op in ("relu2", "scale and shift") for shape in ROUTED for element, of in ELEMENTS if of == option]
    calls = []
    for number, (_, (batch, length, inner, outer, count, rows), element) in enumerate(cases):
        generator = np.random.default_rng(number)
        shapes = dict(x=(batch, length, inner), w=(outer, inner), d=(rows, outer))
        arrays = {name: generator.standard_normal(shape).astype(DTYPES[element]) for name, shape in shapes.items()}
        arrays |= {name: generator.standard_normal(rows).astype(np.float32) for name in "ac"}
        for name in "dac":
            arrays[name][count:] = np.nan
        indices = np.sort(generator.permutation(batch * length)[:count])
        arrays["i"] = np.concatenate([indices, np.full(rows - count, -1)]).astype(np.int32)
        arrays["o"] = np.searchsorted(indices, length * np.arange(batch + 1)).astype(np.int32)
        calls.append((f"f{number}", arrays))
    text = "".join(routed_text_of(*case, f"f{number}") for number, case in enumerate(cases))
    outcome = ptx_machine.call(build_folder(), text, calls, tmp_path, counters=True, options=("--precision", option))
    assert all("linear" in name or "weight_grad" in name for name in outcome.counters), list(outcome.counters)
    for (op, shape, element), (_, arrays), actual in zip(cases, calls, outcome.results):
        count = shape[4]
        wide = {name: array.astype(np.float64) for name, array in arrays.items()}
        rows = wide["x"].reshape(-1, shape[2])[arrays["i"][:count]]
        h = OPS[op][1](rows, wide["a"][:count, None], wide["c"][:count, None])
        for name, wanted in (("y", h @ wide["w"].T), ("dw", wide["d"][:count].T @ h)):
            error = np.abs(actual[name].astype(np.float64)[:len(wanted)] - wanted).max(initial=0)
            assert error <= LIMITS[element, option] * max(1, np.abs(wanted).max(initial=0)), (op, shape, element, name)


@pytest.mark.parametrize("element, option", ELEMENTS)
def test_a_norm_is_a_scale(element, option, tmp_path):
    """In its Gram form, RMSNorm is a sum for each row, and a scale as the product loads the row."""
    rows, inner, outer = 70, 48, 33
    x, w, y = (f"tensor<{m}x{n}x{element}>" for m, n in ((rows, inner), (outer, inner), (rows, outer)))
    module = tmp_path / "norm.mlir"
    module.write_text(f"""
func.func @f(%x: {x} {{nag.name = "x"}}, %w: {w} {{nag.name = "w"}}) -> ({y} {{nag.name = "y"}}) {{
  %n = nag.rms_norm %x : ({x}) -> {x}
  %y = nag.linear %n, %w : ({x}, {w}) -> {y}
  return %y : {y}
}}
""")
    lowered = run([build_folder() / "bin/nag-opt", module, "--nag-lower-to-row-gram", "--canonicalize", "--cse"])
    generator = np.random.default_rng(1)
    arrays = {name: generator.standard_normal(shape).astype(DTYPES[element]) for name, shape in (("x", (rows, inner)), ("w", (outer, inner)))}
    outcome = ptx_machine.call(build_folder(), lowered, [("f", arrays)], tmp_path, counters=True, options=("--precision", option))
    assert len(outcome.counters) == 2 and any(name.startswith("row_combine_linear") for name in outcome.counters), list(outcome.counters)
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    expected = wide["x"] / np.sqrt((wide["x"]**2).mean(-1, keepdims=True)) @ wide["w"].T
    error = np.abs(outcome.results[0]["y"].astype(np.float64) - expected).max()
    assert error <= LIMITS[element, option] * np.abs(expected).max()


@pytest.mark.parametrize("element, option", ELEMENTS)
def test_scalars_of_rows_behind_a_product(element, option, tmp_path):
    """A combination of the product's rows and others, in the product's launch."""
    rows, inner, outer = 70, 48, 33
    x, w, y, lane = (*(f"tensor<{m}x{n}x{element}>" for m, n in ((rows, inner), (outer, inner), (rows, outer))), f"tensor<{rows}xf32>")
    types = dict(x=x, w=w, r=y, a=lane, b=lane, c=lane)
    text = f"""
func.func @f({", ".join(f'%{n}: {t} {{nag.name = "{n}"}}' for n, t in types.items())}) -> ({y} {{nag.name = "y"}}) {{
  %p = nag.linear %x, %w : ({x}, {w}) -> {y}
  %y = nag.row_combine %p, %r by %a, %b plus %c : ({y}, {y}, {lane}, {lane}, {lane}) -> {y}
  return %y : {y}
}}
"""
    generator = np.random.default_rng(2)
    shapes = dict(x=(rows, inner), w=(outer, inner), r=(rows, outer), a=rows, b=rows, c=rows)
    arrays = {name: generator.standard_normal(shape).astype(np.float32 if name in "abc" else DTYPES[element]) for name, shape in shapes.items()}
    outcome = ptx_machine.call(build_folder(), text, [("f", arrays)], tmp_path, counters=True, options=("--precision", option))
    assert len(outcome.counters) == 1, list(outcome.counters)
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    expected = (wide["a"][:, None] * (wide["x"] @ wide["w"].T) + wide["b"][:, None] * wide["r"] + wide["c"][:, None])
    error = np.abs(outcome.results[0]["y"].astype(np.float64) - expected).max()
    assert error <= LIMITS[element, option] * np.abs(expected).max()

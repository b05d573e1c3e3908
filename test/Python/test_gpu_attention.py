# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention and the embedding's gradient for the target cuda, on the PTX machine with all of its checks, against the float64
reference, on shapes that meet every edge of the tiles."""

import functools
import os
import re
import shutil
import subprocess

import ml_dtypes
import numpy as np
import op_cases
import ptx_machine
import pytest
from harness import build_folder, run
from nag_reference.attention import attention, attention_vjp

PTXAS = shutil.which("ptxas") or ("/usr/local/cuda/bin/ptxas" if os.path.exists("/usr/local/cuda/bin/ptxas") else None)

# batch, length, heads, key-value heads, head dimension, window
SHAPES = [
    (1, 1, 1, 1, 1, None),     # one token, one element
    (2, 37, 4, 2, 20, None),   # no dimension a multiple of a vector; grouped queries
    (1, 130, 2, 1, 17, None),  # one key behind two tiles; odd heads
    (2, 128, 4, 4, 32, None),  # whole tiles only
    (1, 300, 2, 2, 32, 5),     # a window smaller than a tile: whole key tiles are skipped
    (1, 50, 2, 1, 8, 0),       # every position sees itself alone
    (1, 200, 3, 3, 64, 129),   # a window across tiles
    (1, 33, 1, 1, 40, 40),     # a window longer than the sequence; tensor cores need padding
    (1, 70, 2, 1, 128, None),
    (1, 65, 1, 1, 80, 64),
    (1, 45, 1, 1, 132, 20),    # wider than tensor cores take
    (1, 40, 2, 1, 256, None),
    (1, 20, 1, 1, 510, 3),     # the widest heads but two, and not aligned to vectors
]
CASES = [(shape, element) for shape in SHAPES for element in ("f32", "bf16")]
DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16}

# Relative to the largest value of a tensor, or to 1 where gradients vanish. bf16 keeps a result within 2^-9 of itself;
# probabilities, score gradients and the forward result enter products so rounded too, each with an error of the same kind:
# four in all at most.
LIMITS = {"f32": 1e-5, "bf16": 4 * 2.0**-9}


def attention_text(case, name):
    (batch, length, heads, kv_heads, head_dim, window), element = case
    query, lse = f"tensor<{batch}x{length}x{heads * head_dim}x{element}>", f"tensor<{batch}x{heads}x{length}xf32>"
    key = f"tensor<{batch}x{length}x{kv_heads * head_dim}x{element}>"
    attributes = f"heads = {heads}, kv_heads = {kv_heads}" + ("" if window is None else f", window = {window}")
    types = dict(q=query, k=key, v=key, o=query, lse=lse, do=query, dq=query, dk=key, dv=key)
    forward = backward = attributes
    if element == "bf16" and head_dim % 8 == 0 and head_dim <= 64:  # the tiles that long sequences have
        forward += ", nag.schedule = #nag.schedule<attention, tile = [64, 64], warps = 4>"
        backward += ", nag.schedule = #nag.schedule<attention_vjp, key_tile = [64, 64], key_warps = 4, query_tile = [64, 64], query_warps = 4>"

    def named(names, sign):
        return ", ".join(f'{sign}{n if sign else ""}{": " if sign else ""}{types[n]} {{nag.name = "{n}"}}' for n in names)

    return f"""
func.func @{name}({named(["q", "k", "v", "do"], "%")}) -> ({named(["o", "lse", "dq", "dk", "dv"], "")}) {{
  %o, %lse = nag.attention %q, %k, %v {{{forward}}} : ({query}, {key}, {key}) -> ({query}, {lse})
  %dq, %dk, %dv = nag.attention_vjp %q, %k, %v, %o, %lse, %do {{{backward}}}
      : ({query}, {key}, {key}, {query}, {lse}, {query}) -> ({query}, {key}, {key})
  return %o, %lse, %dq, %dk, %dv : {query}, {lse}, {query}, {key}, {key}
}}
"""


def attention_inputs(case):
    (batch, length, heads, kv_heads, head_dim, _), element = case
    generator = np.random.default_rng(7)
    return {name: generator.standard_normal((batch, length, count * head_dim)).astype(DTYPES[element])
            for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads), ("do", heads))}


def call_all(texts, inputs, folder, **options):
    """Compiles functions f0, f1, ... as one module and calls each."""
    calls = [(f"f{number}", arguments) for number, arguments in enumerate(inputs)]
    return ptx_machine.call(build_folder(), "".join(texts), calls, folder, **options)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """All cases, computed by one program at the first request."""
    texts = [attention_text(case, f"f{number}") for number, case in enumerate(CASES)]
    return functools.cache(lambda: call_all(texts, [attention_inputs(case) for case in CASES],
                                            tmp_path_factory.mktemp("attention"), counters=True))


def error(actual, expected):
    return np.abs(actual.astype(np.float64) - expected).max() / max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention_matches_the_reference(case, outcome):
    (_, _, heads, kv_heads, _, window), element = case
    wide = {name: x.astype(np.float64) for name, x in attention_inputs(case).items()}
    o, lse = attention(wide["q"], wide["k"], wide["v"], heads, kv_heads, window)
    dq, dk, dv = attention_vjp(wide["q"], wide["k"], wide["v"], wide["do"], heads, kv_heads, window)
    actual = outcome().results[CASES.index(case)]
    assert error(actual["lse"], lse) < LIMITS["f32"]
    for name, expected in dict(o=o, dq=dq, dk=dk, dv=dv).items():
        assert error(actual[name], expected) < LIMITS[element], name


def test_tensor_core_kernels_meet_no_bank_conflict(outcome):
    kernels = [kernel for kernel in outcome().counters.values() if kernel["mma_instructions"]]
    assert len(kernels) >= 2 * 7  # forward and backward pass of the shapes whose heads fit
    assert not any(kernel["shared_bank_conflicts"] for kernel in kernels)


def test_tiles_out_of_sight_are_not_visited(outcome):
    """A warp multiplies 16 x 64 x 32 elements twice per tile, with 32 instructions. Of 128 positions in tiles of 64, the tiles
    of queries see 1 and 2 tiles of keys; of 300 through a window of 5, the first sees one tile, and four see two."""
    counts = [kernel["mma_instructions"] for kernel in outcome().counters.values()]
    assert 2 * 4 * (1 + 2) * 4 * 32 in counts and 2 * (1 + 4 * 2) * 4 * 32 in counts


def test_other_kernels_meet_few_bank_conflicts(outcome):
    """Only copies of lines that are no multiple of 32 words do."""
    for name, kernel in outcome().counters.items():
        assert kernel["shared_bank_conflicts"] <= 0.05 * kernel["shared_wavefronts"], name


@pytest.mark.skipif(not PTXAS, reason="no ptxas")
@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
def test_registers_suffice(chip, tmp_path):
    cases = [((1, 256, 2, 1, head_dim, None), element) for head_dim, element in ((64, "f32"), (64, "bf16"), (128, "bf16"))]
    # Tiles of 128 queries, and heads that are padded.
    cases += [((4, 1024, 8, 4, 64, None), "bf16"), ((2, 256, 4, 2, 24, 100), "bf16"), ((2, 256, 4, 2, 40, 100), "bf16")]
    module = tmp_path / "module.mlir"
    module.write_text("".join(attention_text(case, f"f{number}") for number, case in enumerate(cases)))
    run([build_folder() / "bin/nagc", "compile", module, "--target", "cuda", "--chip", chip, "--emit", "ptx", "-o", tmp_path])
    ptx, = tmp_path.glob("*.ptx")
    report = subprocess.run([PTXAS, "-v", "-arch", chip, "-o", tmp_path / "cubin", ptx], capture_output=True, text=True)
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report.stderr)
    assert len(spills) == 2 * len(cases) and set(spills) == {("0", "0", "0")}, report.stderr


def test_scores_far_apart_and_nan(tmp_path):
    case = (1, 80, 1, 1, 16, None), "f32"
    large = {name: x * 100 for name, x in attention_inputs(case).items()}
    spoiled = attention_inputs(case)
    spoiled["k"][0, 20, 3] = np.nan
    results = call_all([attention_text(case, "f0"), attention_text(case, "f1")], [large, spoiled], tmp_path).results
    o, _ = attention(*(large[name].astype(np.float64) for name in "qkv"), 1, 1)
    assert np.isfinite(results[0]["lse"]).all() and error(results[0]["o"], o) < 1e-3
    assert np.isnan(results[1]["o"][0, 20:]).all() and not np.isnan(results[1]["o"][0, :16]).any()


EMBEDDINGS = [  # tokens' shape, rows, elements, type, how tokens are drawn
    ((1, 1), 1, 1, "f32", "uniform"),
    ((3, 77), 1000, 20, "f32", "often"),
    ((2, 300), 300, 6, "f32", "same"),
    ((2, 70), 70000, 4, "f32", "uniform"),
    ((2, 130), 257, 7, "bf16", "uniform"),
    ((2, 130), 257, 512, "bf16", "often"),
]


def embedding_inputs(case):
    shape, rows, elements, element, kind = case
    generator = np.random.default_rng(3)
    tokens = {"uniform": generator.integers(0, rows, shape), "same": np.full(shape, rows - 1),
              "often": np.minimum(generator.zipf(1.3, shape) - 1, rows - 1)}[kind]
    return {"t": tokens.astype(np.int32), "dy": generator.standard_normal((*shape, elements)).astype(DTYPES[element])}


def test_embedding_gradient_adds_rows_in_order(tmp_path):
    texts = []
    for number, ((batch, length), rows, elements, element, _) in enumerate(EMBEDDINGS):
        tokens, dy = f"tensor<{batch}x{length}xi32>", f"tensor<{batch}x{length}x{elements}x{element}>"
        table = f"tensor<{rows}x{elements}x{element}>"
        texts.append(f"""
func.func @f{number}(%t: {tokens} {{nag.name = "t"}}, %dy: {dy} {{nag.name = "dy"}}) -> ({table} {{nag.name = "d"}}) {{
  %d = nag.embedding_vjp %t, %dy {{rows = {rows}}} : ({tokens}, {dy}) -> {table}
  return %d : {table}
}}
""")
    results = call_all(texts, [embedding_inputs(case) for case in EMBEDDINGS], tmp_path).results
    for case, actual in zip(EMBEDDINGS, results):
        inputs = embedding_inputs(case)
        expected = np.zeros((case[1], case[2]), np.float32)
        for token, row in zip(inputs["t"].ravel(), inputs["dy"].reshape(-1, case[2])):
            expected[token] += row.astype(np.float32)
        np.testing.assert_array_equal(actual["d"], expected.astype(DTYPES[case[3]]), err_msg=str(case))


CACHED = [case for case in op_cases.all_cases() if case.op == "cached_attention"] + [
    op_cases.cached_attention_case(", one element", 3, (2,), heads=1, kv_heads=1, hd=1),
    op_cases.cached_attention_case(", many positions", 700, (650, 0), heads=2, kv_heads=1, hd=64),
    op_cases.cached_attention_case(", odd heads", 40, (35, 11, 39), heads=3, kv_heads=3, hd=33, window=9),
    op_cases.cached_attention_case(", widest heads", 20, (19,), heads=1, kv_heads=1, hd=512),
]


def test_attention_to_a_cache(tmp_path):
    """A result in bf16 is rounded once; sums are in f32 for either type."""
    calls = [(case, element) for case in CACHED for element in ("f32", "bf16")]
    inputs = [{name: x if x.dtype == np.int32 else x.astype(DTYPES[element]) for name, x in case.inputs.items()}
              for case, element in calls]
    texts = [case.text(element, f"f{number}") for number, (case, element) in enumerate(calls)]
    for (case, element), given, actual in zip(calls, inputs, call_all(texts, inputs, tmp_path).results):
        expected = case.compute(**{name: x if x.dtype == np.int32 else x.astype(np.float64) for name, x in given.items()})
        limit = LIMITS["f32"] if element == "f32" else 2.0**-8
        assert error(actual["o"], expected["o"]) < limit, (case.name, element)

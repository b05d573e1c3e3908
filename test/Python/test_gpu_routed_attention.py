# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention of routed queries for the target cuda, on the PTX machine with all of its checks, against the float64 reference:
queries are rows of executed tokens, keys those of all tokens or of the executed ones alone."""

import functools

import ml_dtypes
import numpy as np
import ptx_machine
import pytest

from harness import build_folder
from nag_reference.attention import attention, attention_vjp

# batch, length, heads, key-value heads, head dimension, window, executed tokens of each sequence, rows of the buffers
SHAPES = [
    (1, 1, 1, 1, 8, None, [1], 1),
    (1, 9, 1, 1, 4, None, [0], 9),                   # nothing is executed
    (3, 40, 2, 1, 12, None, [40, 0, 13], 120),       # all, none, some
    (2, 150, 2, 2, 32, None, [75, 75], 150),         # a capacity: no row is left over
    (2, 200, 2, 1, 64, 70, [130, 3], 400),           # a window; tiles that end within a sequence
    (3, 90, 1, 1, 16, 5, [1, 88, 0], 270),           # a window smaller than a tile, an empty sequence behind the others
    (2, 70, 2, 1, 128, None, [33, 64], 140),
    (1, 40, 1, 1, 20, 0, [17], 17),                  # every query sees itself alone
]
CASES = [(shape, element, kv) for shape in SHAPES for element in ("f32", "bf16") for kv in ("all", "routed")]
DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16}
LIMITS = {"f32": 1e-5, "bf16": 4 * 2.0**-9}  # as in test_gpu_attention.py


def text_of(case, name):
    (batch, length, heads, kv_heads, head_dim, window, _, rows), element, kv = case
    query, lse = f"tensor<{rows}x{heads * head_dim}x{element}>", f"tensor<{heads}x{rows}xf32>"
    whole = f"{rows}" if kv == "routed" else f"{batch}x{length}"
    key = f"tensor<{whole}x{kv_heads * head_dim}x{element}>"
    attributes = f"heads = {heads}, kv_heads = {kv_heads}" + ("" if window is None else f", window = {window}")
    types = dict(q=query, k=key, v=key, o=query, lse=lse, do=query, dq=query, dk=key, dv=key,
                 indices=f"tensor<{rows}xi32>", offsets=f"tensor<{batch + 1}xi32>")

    def named(names, sign):
        return ", ".join(f'{sign}{n if sign else ""}{": " if sign else ""}{types[n]} {{nag.name = "{n}"}}' for n in names)

    route = f"{types['indices']}, {types['offsets']}"
    return f"""
func.func @{name}({named(["q", "k", "v", "do", "indices", "offsets"], "%")}) -> ({named(["o", "lse", "dq", "dk", "dv"], "")}) {{
  %o, %lse = nag.attention %q, %k, %v, %indices, %offsets {{{attributes}}} : ({query}, {key}, {key}, {route}) -> ({query}, {lse})
  %dq, %dk, %dv = nag.attention_vjp %q, %k, %v, %o, %lse, %do, %indices, %offsets {{{attributes}}}
      : ({query}, {key}, {key}, {query}, {lse}, {query}, {route}) -> ({query}, {key}, {key})
  return %o, %lse, %dq, %dk, %dv : {query}, {lse}, {query}, {key}, {key}
}}
"""


def positions_of(case):
    batch, length, *_, counts, _ = case[0]
    generator = np.random.default_rng(5)
    return [np.sort(generator.permutation(length)[:count]) for count in counts]


def inputs_of(case):
    (batch, length, heads, kv_heads, head_dim, _, counts, rows), element, kv = case
    generator = np.random.default_rng(7)
    indices = np.concatenate([b * length + places for b, places in enumerate(positions_of(case))])
    inputs = {name: generator.standard_normal((rows, heads * head_dim)).astype(DTYPES[element]) for name in ("q", "do")}
    shape = (rows,) if kv == "routed" else (batch, length)
    inputs |= {name: generator.standard_normal((*shape, kv_heads * head_dim)).astype(DTYPES[element]) for name in ("k", "v")}
    # What stands behind the last executed row must not matter.
    for x in inputs.values():
        if x.ndim == 2:
            x[len(indices):] = np.nan
    inputs["indices"] = np.concatenate([indices, np.full(rows - len(indices), -1)]).astype(np.int32)
    inputs["offsets"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return inputs


def expected_of(case):
    """Attention of all places, with rows that nobody executes far away from everything: zero queries, and keys masked by hand."""
    (batch, length, heads, kv_heads, head_dim, window, counts, rows), _, kv = case
    wide = {name: x.astype(np.float64) for name, x in inputs_of(case).items()}
    results = dict(o=np.zeros_like(wide["q"]), lse=np.zeros((heads, rows)), dq=np.zeros_like(wide["q"]),
                   dk=np.zeros_like(wide["k"]), dv=np.zeros_like(wide["v"]))
    begin = 0
    for b, places in enumerate(positions_of(case)):
        count = len(places)
        here = slice(begin, begin + count)
        begin += count
        if count == 0:
            continue
        keys = places if kv == "routed" else np.arange(length)
        own = here if kv == "routed" else b
        q, k, v, do = wide["q"][here], wide["k"][own], wide["v"][own], wide["do"][here]
        distance = places[:, None] - keys[None, :]
        visible = (distance >= 0) & (distance <= (length if window is None else window))
        for h in range(heads):
            columns, kv_columns = (slice(i * head_dim, (i + 1) * head_dim) for i in (h, h // (heads // kv_heads)))
            scores = np.where(visible, q[:, columns] @ k[:, kv_columns].T / np.sqrt(head_dim), -np.inf)
            top = scores.max(axis=1, keepdims=True)
            lse = top + np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
            p = np.exp(scores - lse)
            o = p @ v[:, kv_columns]
            ds = p * (do[:, columns] @ v[:, kv_columns].T - (do[:, columns] * o).sum(axis=1, keepdims=True)) / np.sqrt(head_dim)
            results["o"][here, columns], results["lse"][h, here] = o, lse[:, 0]
            results["dq"][here, columns] = ds @ k[:, kv_columns]
            results["dk"][own][:, kv_columns] += ds.T @ q[:, columns]
            results["dv"][own][:, kv_columns] += p.T @ do[:, columns]
    return results


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    texts = [text_of(case, f"f{number}") for number, case in enumerate(CASES)]
    calls = [(f"f{number}", inputs_of(case)) for number, case in enumerate(CASES)]
    return functools.cache(lambda: ptx_machine.call(build_folder(), "".join(texts), calls, tmp_path_factory.mktemp("routed")))


def test_the_slow_computation_is_that_of_the_reference():
    """With every token executed."""
    case = (2, 11, 2, 1, 4, 3, [11, 11], 22), "f32", "all"
    inputs = {name: x.astype(np.float64) for name, x in inputs_of(case).items()}
    q, do = (inputs[name].reshape(2, 11, -1) for name in ("q", "do"))
    o, lse = attention(q, inputs["k"], inputs["v"], 2, 1, 3)
    dq, dk, dv = attention_vjp(q, inputs["k"], inputs["v"], do, 2, 1, 3)
    got = expected_of(case)
    assert np.allclose(got["o"], o.reshape(22, -1)) and np.allclose(got["dq"], dq.reshape(22, -1))
    assert np.allclose(got["lse"], np.moveaxis(lse, 1, 0).reshape(2, 22))
    assert np.allclose(got["dk"], dk) and np.allclose(got["dv"], dv)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_routed_attention_matches_the_reference(case, outcome):
    shape, element, kv = case
    count = sum(shape[6])
    actual = outcome().results[CASES.index(case)]
    for name, wanted in expected_of(case).items():
        got = actual[name].astype(np.float64)
        if name == "lse":
            got, wanted = got[:, :count], wanted[:, :count]
        elif name in ("o", "dq") or kv == "routed":
            got, wanted = got[:count], wanted[:count]
        limit = LIMITS["f32" if name == "lse" else element]
        assert np.abs(got - wanted).max(initial=0.0) <= limit * max(1.0, np.abs(wanted).max(initial=0.0)), name

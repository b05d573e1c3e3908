# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of GPU kernels, on the PTX machine with all of its checks: those that only say where and when is computed what leave every
bit of the results as it is, the others change no more than the order of sums does."""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import ptx_machine

BUILD = Path(os.environ.get("NAG_BUILD", "build"))


def function(name, inputs, results, body):
    arguments = ", ".join(f'%{k}: {t} {{nag.name = "{k}"}}' for k, t in inputs.items())
    types = ", ".join(f'{t} {{nag.name = "{k}"}}' for k, t in results.items())
    values = ", ".join(f"%{k}" for k in results)
    return f"func.func @{name}({arguments}) -> ({types}) {{\n  {body}\n  return {values} : {', '.join(results.values())}\n}}\n"


def linear(name, schedule):
    x, w, y = "tensor<100x200xbf16>", "tensor<72x200xbf16>", "tensor<100x72xbf16>"
    return function(name, dict(x=x, w=w), dict(y=y), f"%y = nag.linear %x, %w {{{schedule}}} : ({x}, {w}) -> {y}")


def attention(name, schedule):
    q, lse = "tensor<1x100x64xbf16>", "tensor<1x2x100xf32>"
    return function(name, dict(q=q, k=q, v=q), dict(y=q, lse=lse),
                    f"%y, %lse = nag.attention %q, %k, %v {{heads = 2, kv_heads = 2, {schedule}}} : ({q}, {q}, {q}) -> ({q}, {lse})")


def attention_vjp(name, schedule):
    q, lse = "tensor<1x100x64xbf16>", "tensor<1x2x100xf32>"
    return function(name, dict(q=q, k=q, v=q, o=q, lse=lse, d=q), dict(dq=q, dk=q, dv=q),
                    f"%dq, %dk, %dv = nag.attention_vjp %q, %k, %v, %o, %lse, %d {{heads = 2, kv_heads = 2, {schedule}}}"
                    f" : ({q}, {q}, {q}, {q}, {lse}, {q}) -> ({q}, {q}, {q})")


def relu2(name, schedule):
    x = "tensor<20x1000xf32>"
    return function(name, dict(x=x), dict(y=x), f"%y = nag.relu2 %x {{{schedule}}} : ({x}) -> {x}")


def norm(name, schedule):
    x = "tensor<300x96xf32>"
    return function(name, dict(x=x), dict(y=x), f"%y = nag.rms_norm %x {{{schedule}}} : ({x}) -> {x}")


# Of each op: schedules with the same results, bit for bit; the first is the compiler's own. Then such that sum in another order.
SAME = {
    linear: ["", "gemm, tile = [32, 32, 16], warps = [1, 1], stages = 2", "gemm, tile = [64, 64, 64], warps = [2, 2], stages = 3",
             "gemm, tile = [128, 64, 32], warps = [4, 1], stages = 5"],
    attention: [""],
    attention_vjp: ["", "attention_vjp, key_tile = [128, 64], key_warps = 8, query_tile = [32, 64], query_warps = 2"],
    relu2: ["", "rows, threads = 32, rows = 4, width = 4", "rows, threads = 64, rows = 1, width = 2, segments = 3",
            "rows, threads = 128, rows = 1, width = 1, passes = 7"],
    norm: ["", "rows, threads = 32, rows = 1, width = 4", "rows, threads = 32, rows = 8, width = 4, passes = 5",
           "rows, threads = 32, rows = 2, width = 4, keep = 0"],
}
OTHER = {
    linear: ["gemm, tile = [32, 32, 16], warps = [1, 1], stages = 2, split_k = 3"],
    # A row that meets more tiles, if only of keys that it does not see, scales its sums once more.
    attention: ["attention, tile = [64, 32], warps = 4", "attention, tile = [64, 128], warps = 4", "attention, tile = [128, 64], warps = 8",
                "attention, tile = [32, 64], warps = 2"],
    attention_vjp: ["attention_vjp, key_tile = [64, 32], key_warps = 4, query_tile = [64, 32], query_warps = 4"],
    norm: ["rows, threads = 8, rows = 16, width = 4", "rows, threads = 32, rows = 4, width = 1", "rows, threads = 96, rows = 1, width = 2"],
}


def inputs(case):
    generator = np.random.default_rng(1)
    bf16, f32 = ml_dtypes.bfloat16, np.float32
    draw = lambda shape, dtype: generator.standard_normal(shape).astype(dtype)
    if case is linear:
        return {"x": draw((100, 200), bf16), "w": draw((72, 200), bf16)}
    if case is relu2:
        return {"x": draw((20, 1000), f32)}
    if case is norm:
        return {"x": draw((300, 96), f32)}
    tensors = {name: draw((1, 100, 64), bf16) for name in "qkv"}
    if case is attention_vjp:
        tensors |= {"o": draw((1, 100, 64), bf16), "lse": 4 + draw((1, 2, 100), f32), "d": draw((1, 100, 64), bf16)}
    return tensors


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results by op and schedule, all of one program."""
    cases = [(case, schedule) for case in SAME for schedule in SAME[case] + OTHER.get(case, [])]
    text = "".join(case(f"f{i}", f"nag.schedule = #nag.schedule<{schedule}>" if schedule else "") for i, (case, schedule) in enumerate(cases))
    text = text.replace(", }", "}")
    calls = [(f"f{i}", inputs(case)) for i, (case, _) in enumerate(cases)]
    outcome = ptx_machine.call(BUILD, text, calls, tmp_path_factory.mktemp("schedules"))
    return dict(zip(cases, outcome.results))


@pytest.mark.parametrize("case", SAME, ids=lambda case: case.__name__)
def test_where_and_when_change_no_bit(case, results):
    own = results[case, ""]
    for schedule in SAME[case][1:]:
        for name, value in results[case, schedule].items():
            assert value.tobytes() == own[name].tobytes(), (schedule, name)


@pytest.mark.parametrize("case", OTHER, ids=lambda case: case.__name__)
def test_another_order_of_sums_changes_little(case, results):
    own = results[case, ""]
    for schedule in OTHER[case]:
        for name, value in results[case, schedule].items():
            a, b = value.astype(np.float64), own[name].astype(np.float64)
            limit = 2.0**-7 if value.dtype == ml_dtypes.bfloat16 else 1e-5
            assert np.abs(a - b).max() <= limit * np.abs(b).max(), (schedule, name)

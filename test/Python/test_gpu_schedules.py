# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of GPU kernels, on the PTX machine with all of its checks: those that only say where and when is computed what leave every
bit of the results as it is, the others change no more than the order of sums does."""

import json
import os
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import harness
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


def long_norm(name, schedule):
    x = "tensor<6x2004xbf16>"
    return function(name, dict(x=x), dict(y=x), f"%y = nag.rms_norm %x {{{schedule}}} : ({x}) -> {x}")


def parts(name, schedule):
    x, z = "tensor<20x1000xf32>", "tensor<300x96xf32>"
    return function(name, dict(x=x, z=z), dict(y=x, w=z),
                    f"%y = nag.relu2 %x {{{schedule}}} : ({x}) -> {x}\n  %w = nag.relu2 %z : ({z}) -> {z}")


def embedding_vjp(name, schedule):
    tokens, rows, table = "tensor<2x150xi32>", "tensor<2x150x24xf32>", "tensor<40x24xf32>"
    return function(name, dict(t=tokens, d=rows), dict(y=table), f"%y = nag.embedding_vjp %t, %d {{rows = 40, {schedule}}} : ({tokens}, {rows}) -> {table}")


def cached_attention(name, schedule):
    q, k, cache, positions = "tensor<1x3x64xf32>", "tensor<1x3x32xf32>", "tensor<3x70x32xf32>", "tensor<1x3xi32>"
    return function(name, dict(q=q, k=k, v=k, kc=cache, vc=cache, p=positions), dict(y=q),
                    f"%y = nag.cached_attention %q, %k, %v, %kc, %vc, %p {{heads = 4, kv_heads = 2, {schedule}}}"
                    f" : ({q}, {k}, {k}, {cache}, {cache}, {positions}) -> {q}")


# Of each op: schedules with the same results, bit for bit; "" is the compiler's own. Then such that may sum in another order.
SAME = {
    linear: ["", "gemm, tile = [32, 32, 16], warps = [1, 1], stages = 2", "gemm, tile = [64, 64, 64], warps = [2, 2], stages = 3",
             "gemm, tile = [128, 64, 32], warps = [4, 1], stages = 5"],
    attention: [""],
    attention_vjp: ["attention_vjp, key_tile = [64, 64], key_warps = 4, query_tile = [64, 64], query_warps = 4",
                    "attention_vjp, key_tile = [128, 64], key_warps = 8, query_tile = [32, 64], query_warps = 2"],
    relu2: ["", "rows, threads = 32, rows = 4, width = 4", "rows, threads = 64, rows = 1, width = 2, segments = 3",
            "rows, threads = 128, rows = 1, width = 1, passes = 7"],
    parts: ["", "row_parts, threads = 64", "row_parts, threads = 96", "row_parts, threads = 512"],
    embedding_vjp: ["", "embedding_vjp, threads = 64, sort = 0", "embedding_vjp, threads = 256, sort = 1"],
    cached_attention: ["cached_attention, warps = 8"],
    norm: ["rows, threads = 32, rows = 4, width = 4", "rows, threads = 32, rows = 1, width = 4", "rows, threads = 32, rows = 8, width = 4, passes = 5",
           "rows, threads = 32, rows = 2, width = 4, keep = 0"],
    long_norm: [f"rows, threads = 64, rows = 1, width = 4, keep = {keep}" for keep in (1, 2, 0)],
}
OTHER = {
    linear: ["gemm, tile = [32, 32, 16], warps = [1, 1], stages = 2, split_k = 3"],
    # A row that meets more tiles, if only of keys that it does not see, scales its sums once more.
    attention: ["attention, tile = [64, 32], warps = 4", "attention, tile = [64, 128], warps = 4", "attention, tile = [128, 64], warps = 8",
                "attention, tile = [32, 64], warps = 2"],
    attention_vjp: ["", "attention_vjp, key_tile = [64, 32], key_warps = 4, query_tile = [64, 32], query_warps = 4"],
    cached_attention: ["", "cached_attention, warps = 1", "cached_attention, warps = 16"],
    norm: ["", "rows, threads = 8, rows = 16, width = 4", "rows, threads = 32, rows = 4, width = 1", "rows, threads = 96, rows = 1, width = 2"],
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
    if case is long_norm:
        return {"x": draw((6, 2004), bf16)}
    if case is parts:
        return {"x": draw((20, 1000), f32), "z": draw((300, 96), f32)}
    if case is embedding_vjp:
        return {"t": generator.integers(0, 40, (2, 150)).astype(np.int32), "d": draw((2, 150, 24), f32)}
    if case is cached_attention:
        caches = {name: draw((3, 70, 32), f32) for name in ("kc", "vc")}
        return {"q": draw((1, 3, 64), f32), "k": draw((1, 3, 32), f32), "v": draw((1, 3, 32), f32), "p": np.array([[3, 50, 68]], np.int32)} | caches
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
    own = results[case, SAME[case][0]]
    for schedule in SAME[case][1:]:
        for name, value in results[case, schedule].items():
            assert value.tobytes() == own[name].tobytes(), (schedule, name)


@pytest.mark.parametrize("case", OTHER, ids=lambda case: case.__name__)
def test_another_order_of_sums_changes_little(case, results):
    own = results[case, SAME[case][0]]
    for schedule in OTHER[case]:
        for name, value in results[case, schedule].items():
            a, b = value.astype(np.float64), own[name].astype(np.float64)
            limit = 2.0**-7 if value.dtype == ml_dtypes.bfloat16 else 1e-5
            assert np.abs(a - b).max() <= limit * np.abs(b).max(), (schedule, name)


def boundary_vjp(width, rows=16):
    """The gradients of a sub-layer's boundary: three rows are read, by reductions and then by results."""
    row, lane, gates, vector, scalar = (f"tensor<1x{rows}x{width}xbf16>", f"tensor<1x{rows}xf32>", f"tensor<1x{rows}x8xbf16>", "tensor<8xf32>",
                                        "tensor<f32>")
    inputs = dict(z=gates, b=vector, p=vector, beta=scalar, alpha=scalar, r=row, f=row, g=lane, dy=row, dt=lane)
    results = dict(dr=row, df=row, dz=gates, db=vector, dp=vector, dbeta=scalar, dalpha=scalar)
    return inputs, function("f", inputs, results, f"""
  %dr, %df, %dg = nag.rotate_vjp %r, %f, %g, %dy, %dt : ({row}, {row}, {lane}, {row}, {lane}) -> ({row}, {row}, {lane})
  %dz, %db, %dp, %dbeta, %dalpha = nag.gate_vjp %z, %b, %p, %beta, %alpha, %dg
      : ({gates}, {vector}, {vector}, {scalar}, {scalar}, {lane}) -> ({gates}, {vector}, {vector}, {scalar}, {scalar})""")


@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
def test_rows_that_fit_are_kept(chip, tmp_path):
    """Up to the width at which a multiprocessor has no room for them, the model takes no schedule that reads rows twice."""
    for width, kept in ((256, True), (640, True), (1024, True), (4096, True), (16384, True), (65536, False)):
        module = tmp_path / f"{width}.mlir"
        module.write_text(boundary_vjp(width)[1])
        harness.run([BUILD / "bin" / "nagc", "compile", module, "--target", "cuda", "--chip", chip, "--emit", "mlir", "-o", tmp_path])
        schedules = [kernel["schedule"] for kernel in json.loads((tmp_path / "manifest.json").read_text())["kernels"]]
        assert schedules and all("keep = 0" not in schedule for schedule in schedules) == kept, (width, schedules)


@pytest.mark.parametrize("width", [640, 1024])
def test_kept_rows_are_read_once(width, tmp_path):
    rows = 1024  # parameters weigh little
    inputs, text = boundary_vjp(width, rows)
    generator = np.random.default_rng(width)
    shapes = {name: [int(size) for size in re.findall(r"(\d+)x", kind)] for name, kind in inputs.items()}
    arrays = {name: generator.standard_normal(shape).astype(ml_dtypes.bfloat16 if "bf16" in inputs[name] else np.float32)
              for name, shape in shapes.items()}
    outcome = ptx_machine.call(BUILD, text, [("f", arrays)], tmp_path, counters=True)
    read = sum(kernel["global_bytes_read"] for kernel in outcome.counters.values())
    # Three rows of bf16, and beside them scalars, 8 directions and partial sums: 3.08 and 3.05 rows, with keep = 0 8.08 and 8.06.
    assert read < 3.1 * rows * width * 2, read / (rows * width * 2)

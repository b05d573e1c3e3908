# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Products of routed rows for the target cuda, on the PTX machine with all of its checks: rows that an index names are read where they
are and put where they go, and as many of them count as the offsets say."""

import functools
import os
import re
import shutil
import subprocess

import ml_dtypes
import numpy as np
import ptx_machine
import pytest

from harness import build_folder, run

PTXAS = shutil.which("ptxas") or ("/usr/local/cuda/bin/ptxas" if os.path.exists("/usr/local/cuda/bin/ptxas") else None)

# batch, length, width, columns, executed tokens, rows of the buffers
SHAPES = [
    (1, 1, 4, 3, 1, 1),
    (2, 20, 12, 20, 0, 40),        # nothing is executed
    (2, 20, 12, 20, 40, 40),       # everything
    (3, 50, 36, 33, 71, 150),      # rows end within a tile; odd columns go one by one
    (2, 150, 64, 128, 150, 150),   # a capacity
    (2, 300, 17, 64, 402, 600),    # rows of an odd length
    (1, 700, 40, 48, 130, 700),    # most tiles do not count
    (1, 1024, 32, 32, 513, 1024),  # parts of a sum, the last of them short
    (1, 1024, 32, 32, 650, 1024),
    (1, 1024, 32, 32, 100, 1024),  # one part of a sum
]
CASES = [(shape, element, option) for shape in SHAPES for element, option in (("f32", "f32"), ("f32", "tf32"), ("bf16", "f32"))]
DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16}
LIMITS = {("f32", "f32"): 1e-5, ("f32", "tf32"): 2e-3, ("bf16", "f32"): 2e-2}


def text_of(case, name):
    (batch, length, width, columns, _, rows), element, _ = case
    types = dict(x=f"tensor<{batch}x{length}x{width}x{element}>", s=f"tensor<{batch}x{length}x{columns}x{element}>",
                 w=f"tensor<{columns}x{width}x{element}>", v=f"tensor<{columns}x{width}x{element}>", d=f"tensor<{rows}x{columns}x{element}>",
                 i=f"tensor<{rows}xi32>", o=f"tensor<{batch + 1}xi32>")
    xr, dw = f"tensor<{rows}x{width}x{element}>", types["w"]
    # d is a function's argument, so nothing but the offsets counts its rows.
    return f"""
func.func @{name}({", ".join(f'%{n}: {t} {{nag.name = "{n}"}}' for n, t in types.items())})
    -> ({types["d"]} {{nag.name = "y"}}, {types["s"]} {{nag.name = "put"}}, {dw} {{nag.name = "dw"}}, {dw} {{nag.name = "dv"}},
        {types["s"]} {{nag.name = "total"}}) {{
  %r, %rest = nag.take %x, %i, %o : ({types["x"]}, {types["i"]}, {types["o"]}) -> ({xr}, {types["x"]})
  %t, %other = nag.take %s, %i, %o : ({types["s"]}, {types["i"]}, {types["o"]}) -> ({types["d"]}, {types["s"]})
  %y = nag.linear %r, %w : ({xr}, {types["w"]}) -> {types["d"]}
  %sum = arith.addf %y, %d : {types["d"]}
  %put = nag.put %sum, %s, %i, %o : ({types["d"]}, {types["s"]}, {types["i"]}, {types["o"]}) -> {types["s"]}
  %dw = nag.weight_grad %d, %r : ({types["d"]}, {xr}) -> {dw}
  %dv = nag.weight_grad %t, %r : ({types["d"]}, {xr}) -> {dw}
  %all = nag.linear %x, %v : ({types["x"]}, {types["v"]}) -> {types["s"]}
  %total = arith.addf %all, %put : {types["s"]}
  return %y, %put, %dw, %dv, %total : {types["d"]}, {types["s"]}, {dw}, {dw}, {types["s"]}
}}
"""


def inputs_of(case):
    (batch, length, width, columns, count, rows), element, _ = case
    generator = np.random.default_rng(11)
    shapes = dict(x=(batch, length, width), s=(batch, length, columns), w=(columns, width), v=(columns, width), d=(rows, columns))
    inputs = {name: generator.standard_normal(shape).astype(DTYPES[element]) for name, shape in shapes.items()}
    indices = np.sort(generator.permutation(batch * length)[:count])
    inputs["d"][count:] = np.nan
    inputs["i"] = np.concatenate([indices, np.full(rows - count, -1)]).astype(np.int32)
    inputs["o"] = np.searchsorted(indices, length * np.arange(batch + 1)).astype(np.int32)
    return inputs


def expected_of(case):
    count = case[0][4]
    wide = {name: x.astype(np.float64) for name, x in inputs_of(case).items()}
    indices = wide["i"][:count].astype(int)
    x, s, d = (wide["x"].reshape(-1, case[0][2])[indices], wide["s"].reshape(-1, case[0][3]), wide["d"][:count])
    y = x @ wide["w"].T
    put = s.copy()
    put[indices] = y + d
    put = put.reshape(wide["s"].shape)
    return dict(y=y, put=put, dw=d.T @ x, dv=s[indices].T @ x, total=put + wide["x"] @ wide["v"].T), indices


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    @functools.cache
    def compute(option):
        cases = [case for case in CASES if case[2] == option]
        texts = [text_of(case, f"f{number}") for number, case in enumerate(cases)]
        calls = [(f"f{number}", inputs_of(case)) for number, case in enumerate(cases)]
        results = ptx_machine.call(build_folder(), "".join(texts), calls, tmp_path_factory.mktemp(option),
                                   options=("--precision", option)).results
        return dict(zip(cases, results))
    return compute


@pytest.mark.parametrize("case", CASES, ids=str)
def test_products_of_routed_rows(case, outcome):
    expected, indices = expected_of(case)
    actual = outcome(case[2])[case]
    for name, wanted in expected.items():
        got = actual[name].astype(np.float64)[:len(wanted)]
        limit = LIMITS[case[1:]] * max(1.0, np.abs(wanted).max(initial=0.0))
        assert np.abs(got - wanted).max(initial=0.0) <= limit, name
    # What is skipped keeps its bits.
    skipped = np.setdiff1d(np.arange(case[0][0] * case[0][1]), indices)
    kept = [x.reshape(-1, case[0][3])[skipped].tobytes() for x in (actual["put"], inputs_of(case)["s"])]
    assert kept[0] == kept[1]


def test_no_rows_are_copied(tmp_path):
    """Products gather: no kernel takes rows for them. What is added to rows that are put is added in the same launch."""
    module = tmp_path / "module.mlir"
    module.write_text(text_of(CASES[-1], "f"))
    result = run([build_folder() / "bin/nagc", "compile", module, "--target", "cuda", "-o", tmp_path])
    names = re.findall(r"\.entry (\w+)", next(tmp_path.glob("*.ptx")).read_text())
    assert not any(name.startswith("take") for name in names), (names, result)
    assert "linear_addf_put_addf_kernel" in names, names


@pytest.mark.skipif(not PTXAS, reason="no ptxas")
@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
@pytest.mark.parametrize("policy", ["capacity", "rate"])
@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_registers_suffice(chip, policy, precision, tmp_path):
    nagc = build_folder() / "bin/nagc"
    settings = dict(layers=1, width=256, heads=4, seq=256, batch=8, mod_exempt=0, mod_policy=policy, mod_rate=0.5)
    run([nagc, "model", *(f"--set={k}={v}" for k, v in settings.items()), "-o", tmp_path / "model.mlir"])
    run([nagc, "compile", tmp_path / "model.mlir", "--target", "cuda", "--chip", chip, "--precision", precision, "-o", tmp_path])
    ptx, = tmp_path.glob("*.ptx")
    # Weights are rounded at the start; rows where they are made, and never the whole stream.
    assert len(re.findall(r"\.entry truncf", ptx.read_text())) == (precision == "bf16")
    report = subprocess.run([PTXAS, "-v", "-arch", chip, "-o", tmp_path / "cubin", ptx], capture_output=True, text=True)
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report.stderr)
    assert spills and set(spills) == {("0", "0", "0")}, report.stderr

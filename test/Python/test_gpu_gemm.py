# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""GEMM kernels of the cuda target on the PTX machine, with all of its checks, against numpy."""

import itertools
import json
import os
import re
import shutil
import subprocess

import ml_dtypes
import numpy as np
import pytest
from harness import build_folder, run

PTXAS = shutil.which("ptxas") or ("/usr/local/cuda/bin/ptxas" if os.path.exists("/usr/local/cuda/bin/ptxas") else None)
DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16}

# Of f32 sums of f32 products, and of a result rounded to bf16 (half of 2^-7), relative to the largest element; tf32 operands
# are rounded by the test itself.
TOLERANCES = {"f32": 1e-5, "bf16": 2.0**-8, "tf32": 1e-5}

SCHEDULES = {
    "f32": ["tile = [128, 128, 16], warps = [4, 2], stages = 3", "tile = [64, 64, 16], warps = [4, 2], stages = 3",
            "tile = [32, 64, 32], warps = [2, 2], stages = 2"],
    "bf16": ["tile = [128, 256, 32], warps = [2, 4], stages = 3", "tile = [128, 128, 32], warps = [2, 2], stages = 4",
             "tile = [64, 64, 64], warps = [2, 2], stages = 3", "tile = [32, 32, 16], warps = [1, 1], stages = 2"],
    "tf32": ["tile = [128, 128, 32], warps = [2, 2], stages = 3", "tile = [64, 64, 16], warps = [2, 2], stages = 4",
             "tile = [32, 64, 8], warps = [1, 2], stages = 2"],
}
SIZES = [(1, 1, 1), (3, 17, 5), (17, 3, 100), (100, 129, 64), (129, 100, 17), (128, 256, 96), (65, 64, 130), (1, 200, 33)]


def tensor(shape, dtype):
    return f"tensor<{'x'.join(map(str, shape))}x{dtype}>"


class Case:
    """One kernel: the product of `size` = (m, n, k); `kind` is nt (forward), nn (input gradient) or tn (weight gradient).

    `body` are ops that follow on %c and on the arrays `extra` (%e0, ...), all m x n; `yields` are the results, of the product's
    type or of the type `result`.
    """

    def __init__(self, name, kind, size, types, schedule="", body="", extra=0, yields=("%c",), result=None):
        self.result = result or types[2]
        self.name, self.kind, self.size, self.types, self.schedule = name, kind, size, types, schedule
        self.body, self.extra, self.yields = body, extra, yields
        m, n, k = size
        self.shapes = {"nt": ((m, k), (n, k)), "nn": ((m, k), (k, n)), "tn": ((k, m), (k, n))}[kind]

    def text(self):
        """A function with one nag.kernel, which becomes the device function @name_kernel."""
        attributes = ["transpose_weight"] if self.kind == "nn" else []
        if self.schedule:
            attributes.append(f"nag.schedule = #nag.schedule<gemm, {self.schedule}>")
        a, b, c = (tensor(s, t) for s, t in zip((*self.shapes, self.size[:2]), self.types))
        inputs = {"a": a, "b": b, **{f"e{i}": c for i in range(self.extra)}}
        result = tensor(self.size[:2], self.result)
        types, results = ", ".join(inputs.values()), ", ".join(result for _ in self.yields)
        op = "nag.weight_grad" if self.kind == "tn" else "nag.linear"
        arguments = ", ".join(f"%in_{name}: {t} {{nag.name = \"{name}\"}}" for name, t in inputs.items())
        named = ", ".join(f"{result} {{nag.name = \"r{i}\"}}" for i in range(len(self.yields)))
        values = ", ".join(f"%r#{i}" for i in range(len(self.yields)))
        return f"""
func.func @{self.name}({arguments}) -> ({named}) {{
  %r:{len(self.yields)} = nag.kernel "{self.name}"({", ".join(f"%in_{name}" for name in inputs)}) : ({types}) -> ({results}) {{
  ^bb0({", ".join(f"%{name}: {t}" for name, t in inputs.items())}):
    %c = {op} %a, %b {{{", ".join(attributes)}}} : ({a}, {b}) -> {c}
    {self.body.replace("TYPE", c).replace("RESULT", result)}
    nag.yield {", ".join(self.yields)} : {results}
  }}
  return {values} : {results}
}}
"""

    def operands(self):
        generator = np.random.default_rng(sum(self.size))
        shapes = [*self.shapes, *[self.size[:2]] * self.extra]
        types = [*self.types[:2], *[self.types[2]] * self.extra]
        return [generator.standard_normal(shape).astype(DTYPES[dtype]) for shape, dtype in zip(shapes, types)]

    def product(self, a, b):
        a, b = a.astype(np.float64), b.astype(np.float64)
        return {"nt": lambda: a @ b.T, "nn": lambda: a @ b, "tn": lambda: a.T @ b}[self.kind]()


class Compiled:
    """PTX of some cases, run kernel by kernel with all checks."""

    def __init__(self, cases, folder, chip="sm_80", precision="f32"):
        self.folder = folder
        module = folder / "cases.mlir"
        module.write_text("".join(case.text() for case in cases))
        run([build_folder() / "bin/nagc", "compile", module, "--target", "cuda", "--chip", chip, "--precision", precision,
             "--emit", "ptx", "-o", folder])
        manifest = json.loads((folder / "manifest.json").read_text())
        self.kernels = {kernel["name"].replace("_kernel", ""): kernel for kernel in manifest["kernels"]}

    def launch(self, name, arguments, *options):
        """Arguments are arrays to read and (dtype, count) to write. Returns what was written, and counters."""
        kernel = self.kernels[name]
        command = [build_folder() / "bin/ptx-vm", "run", self.folder / "kernels.ptx", "--entry", kernel["name"], "--json",
                   "--grid", ",".join(map(str, kernel["grid"])), "--block", ",".join(map(str, kernel["block"])),
                   "--shared", kernel["shared_bytes"], *options]
        written = []
        for index, argument in enumerate(arguments):
            path = self.folder / f"{name}.{index}.npy"
            if isinstance(argument, np.ndarray):
                np.save(path, argument.view(np.uint16) if argument.dtype == ml_dtypes.bfloat16 else argument)
                command += ["--arg", f"npy:{path}"]
            else:
                command += ["--arg", f"{argument[0]}[{argument[1]}]:uninit", "--out", f"{index}={path}"]
                written.append((path, DTYPES[argument[0]]))
        out = json.loads(run(command))
        assert out["findings"] == []
        return [np.load(path).view(dtype) for path, dtype in written], out["counters"]

    def parts(self, name):
        """The buffer for the parts of a split sum: a tile per block."""
        kernel = self.kernels[name]
        rows, columns = map(int, re.search(r"tile = \[(\d+), (\d+)", kernel["schedule"]).groups())
        return [("f32", kernel["grid"][0] * rows * columns)] if "split_k" in kernel["schedule"] else []

    def run(self, case):
        """Operands, results in f64 and the counters of the launch."""
        operands, (m, n, _) = case.operands(), case.size
        results = [(case.result, m * n) for _ in case.yields]
        arrays, counters = self.launch(case.name, [*operands[:2], *results, *operands[2:], *self.parts(case.name)])
        arrays = arrays[:len(results)]
        return operands, [array.reshape(m, n).astype(np.float64) for array in arrays], counters


def check(result, exact, tolerance, case):
    error = np.abs(result - exact).max() / np.abs(exact).max()
    assert error <= tolerance, (case.name, case.size, case.schedule, error)


def round_to_tf32(array):
    bits = array.view(np.uint32).astype(np.uint64)
    return ((bits + 0x1000) & 0xFFFFE000).astype(np.uint32).view(np.float32)


def check_products(cases, folder, precision):
    compiled = Compiled(cases, folder, precision="tf32" if precision == "tf32" else "f32")
    for case in cases:
        operands, (result,), _ = compiled.run(case)
        if precision == "tf32":
            operands = [round_to_tf32(operand) for operand in operands]
        check(result, case.product(*operands), max(TOLERANCES[precision], TOLERANCES[case.types[2]]), case)


def types_of(precision):
    return ("bf16",) * 3 if precision == "bf16" else ("f32",) * 3


@pytest.mark.parametrize("precision", ["f32", "bf16", "tf32"])
def test_sizes(precision, tmp_path):
    """Sizes that are no multiple of any tile, rows that are not aligned, with the model's schedules."""
    cases = [Case(f"{kind}_{'_'.join(map(str, size))}", kind, size, types_of(precision))
             for kind, size in itertools.product(["nt", "nn", "tn"], SIZES)]
    check_products(cases, tmp_path, precision)


@pytest.mark.parametrize("precision", ["f32", "bf16", "tf32"])
def test_schedules(precision, tmp_path):
    """Schedules given by hand, with the sum whole and split among three blocks."""
    cases = [Case(f"{kind}_{index}_{split}", kind, (200, 136, 104), types_of(precision),
                  schedule + (f", split_k = {split}" if split > 1 else ""))
             for index, schedule in enumerate(SCHEDULES[precision])
             for kind, split in zip(["nt", "nn", "tn"], [1, 3, 1] if index % 2 else [1, 1, 3])]
    check_products(cases, tmp_path, precision)


def test_mixed_types(tmp_path):
    """bf16 and f32 operands together: multiplied in f32."""
    cases = [Case(f"{kind}_{a}_{b}", kind, (50, 40, 72), (a, b, b if kind == "tn" else a))
             for kind in ["nt", "nn", "tn"] for a, b in [("bf16", "f32"), ("f32", "bf16")]]
    check_products(cases, tmp_path, "f32")


@pytest.mark.parametrize("precision", ["f32", "bf16", "tf32"])
def test_memory_access(precision, tmp_path):
    """No two lanes meet in a bank of shared memory, no sector is fetched in part."""
    cases = [Case(f"{kind}_{index}", kind, (256, 256, 128), types_of(precision), schedule)
             for kind in ["nt", "nn", "tn"] for index, schedule in enumerate(SCHEDULES[precision][:3])]
    compiled = Compiled(cases, tmp_path, precision="tf32" if precision == "tf32" else "f32")
    for case in cases:
        _, _, counters = compiled.run(case)
        assert counters["shared_bank_conflicts"] == 0, case.name
        assert counters["global_sectors"] == counters["global_sectors_ideal"], case.name
        assert (counters["mma_instructions"] > 0) == (precision != "f32")


def test_epilogue(tmp_path):
    """An activation, a residual and a result that others read too, on sums as they leave; also after a split."""
    body = """%d = nag.relu2 %c : (TYPE) -> TYPE
    %f = arith.addf %d, %e0 : TYPE
    %g = arith.mulf %f, %e1 : TYPE"""
    split = "tile = [64, 64, 32], warps = [2, 2], stages = 2, split_k = 2"
    cases = [Case("bf16", "nt", (70, 72, 64), ("bf16",) * 3, body=body, extra=2, yields=("%c", "%g")),
             Case("f32", "nt", (70, 33, 64), ("f32",) * 3, body=body, extra=2, yields=("%c", "%g")),
             Case("parts", "tn", (64, 72, 128), ("bf16",) * 3, split, body=body, extra=2, yields=("%c", "%g")),
             Case("one", "nt", (64, 64, 64), ("f32",) * 3, body=body, extra=2, yields=("%g",))]
    compiled = Compiled(cases, tmp_path)
    assert sorted(compiled.kernels) == ["bf16", "f32", "one", "parts"]
    for case in cases:
        operands, results, _ = compiled.run(case)
        product = case.product(*operands[:2])
        first, second = (operand.astype(np.float64) for operand in operands[2:])
        check(results[-1], (np.maximum(product, 0)**2 + first) * second, TOLERANCES[case.types[2]], case)
        if len(results) == 2:
            check(results[0], product, TOLERANCES[case.types[2]], case)


def test_sums_that_are_widened_are_not_rounded_before(tmp_path):
    """A product of bf16 whose result is wanted in f32, as the logits of a head, keeps what its sums have."""
    split = "tile = [64, 64, 32], warps = [2, 2], stages = 2, split_k = 2"
    cases = [Case(f"{kind}_{index}", kind, (70, 72, 96), ("bf16",) * 3, schedule, "%d = arith.extf %c : TYPE to RESULT",
                  yields=("%d",), result="f32") for kind in ["nt", "nn", "tn"] for index, schedule in enumerate(["", split])]
    compiled = Compiled(cases, tmp_path)
    for case in cases:
        operands, (result,), _ = compiled.run(case)
        check(result, case.product(*operands), TOLERANCES["f32"], case)


def test_a_split_sum_has_one_order(tmp_path):
    """However many blocks run at once: the machine's own threads, four and then one."""
    case = Case("split", "tn", (64, 72, 400), ("f32",) * 3, "tile = [32, 32, 16], warps = [2, 1], stages = 2, split_k = 5")
    compiled = Compiled([case], tmp_path)
    operands = case.operands()
    bits = set()
    for threads in (4, 1, 3):
        arguments = [*operands, ("f32", 64 * 72), *compiled.parts("split")]
        (result, _), _ = compiled.launch("split", arguments, "--threads", threads)
        bits.add(result.tobytes())
    assert len(bits) == 1


@pytest.mark.skipif(PTXAS is None, reason="no ptxas")
@pytest.mark.parametrize("chip", ["sm_80", "sm_90a"])
def test_registers(chip, tmp_path):
    """ptxas keeps everything in registers."""
    cases = [Case(f"{kind}_{precision}_{'_'.join(map(str, size))}", kind, size, types_of(precision))
             for kind, size in [("nt", (2048, 2048, 512)), ("nn", (2048, 512, 128)), ("tn", (3, 65, 3)), ("nt", (2049, 2047, 129)),
                                ("tn", (768, 768, 4096))]
             for precision in ["f32", "bf16"]]
    Compiled(cases, tmp_path, chip)
    command = [PTXAS, "-v", f"-arch={chip}", tmp_path / "kernels.ptx", "-o", tmp_path / "kernels.cubin"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spills = [int(count) for count in re.findall(r"(\d+) bytes spill stores", text)]
    assert len(spills) >= len(cases) and max(spills) == 0, text

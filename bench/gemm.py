#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A bf16 GEMM of 4096^3 as this compiler emits it, beside a straightforward CUDA C++ one (bench/gemm_mma.cu) that nvcc compiles.

    bench/gemm.py [--build build] [--size 4096] [--rows 512] [--chip sm_80]

Our figures are those of `nagc profile` for the whole product. Both kernels run with all checks, against numpy, on `rows` x `rows` of the
result with the whole sum; the other's figures are from there: blocks are alike, so what one counts per multiply-add is what the
full size has. Registers are ptxas's.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

CUDA = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"
SOURCE = Path(__file__).resolve().parent / "gemm_mma.cu"


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise SystemExit(f"{Path(command[0]).name}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout + done.stderr


def write_module(folder, rows, depth, schedule=None):
    operand, result = f"tensor<{rows}x{depth}xbf16>", f"tensor<{rows}x{rows}xbf16>"
    attribute = f" {{nag.schedule = {schedule}}}" if schedule else ""
    module = folder / "gemm.mlir"
    module.write_text(
        f"func.func @gemm(%a: {operand} {{nag.name = \"a\"}}, %b: {operand} {{nag.name = \"b\"}}) "
        f"-> ({result} {{nag.name = \"c\"}}) {{\n"
        f"  %c = nag.linear %a, %b{attribute} : ({operand}, {operand}) -> {result}\n"
        f"  return %c : {result}\n}}\n")
    return module


def profile(build, folder, size, chip):
    """What nagc profile counts of the full size, with the schedule that the cost model takes for it."""
    path = folder / "profile.json"
    run("sh", "-c", f"'{build / 'bin/nagc'}' profile '{write_module(folder, size, size)}' --chip {chip} --json > '{path}'")
    kernel, = json.loads(path.read_text())["kernels"]
    part, = kernel["parts"]
    return part


def tile_of(schedule):
    return [int(size) for size in re.search(r"tile = \[([^\]]*)\]", schedule)[1].split(",")]


def compile_nag(build, folder, rows, depth, schedule, chip):
    module = write_module(folder, rows, depth, schedule)
    run(build / "bin/nagc", "compile", module, "--target", "cuda", "--chip", chip, "--emit", "ptx", "-o", folder)
    kernel, = json.loads((folder / "manifest.json").read_text())["kernels"]
    return {"ptx": folder / "kernels.ptx", "entry": kernel["name"], "grid": kernel["grid"], "block": kernel["block"],
            "shared": kernel["shared_bytes"], "tile": tile_of(schedule), "scalars": []}


def compile_cuda(folder, rows, depth, chip):
    ptx = folder / "reference.ptx"
    run(CUDA / "nvcc", "-O3", f"-arch={chip}", "--ptx", SOURCE, "-o", ptx)
    return {"ptx": ptx, "entry": "gemm", "grid": [rows // 128, rows // 128, 1], "block": [256, 1, 1], "shared": 0,
            "tile": [128, 128, 32], "scalars": [f"s32:{rows}", f"s32:{depth}"]}


def execute(build, folder, kernel, rows, depth):
    """Runs the kernel with all checks on random operands and compares it with numpy."""
    generator = np.random.default_rng(0)
    operands = [generator.standard_normal((rows, depth), dtype=np.float32).astype(ml_dtypes.bfloat16) for _ in "ab"]
    arguments = []
    for name, operand in zip("ab", operands):
        np.save(folder / f"{name}.npy", operand.view(np.uint16))
        arguments += ["--arg", f"npy:{folder / name}.npy"]
    arguments += ["--arg", f"u16[{rows * rows}]:uninit", "--out", f"2={folder / 'c.npy'}"]
    for scalar in kernel["scalars"]:
        arguments += ["--arg", scalar]
    out = run(build / "bin/ptx-vm", "run", kernel["ptx"], "--entry", kernel["entry"], "--json",
              "--grid", ",".join(map(str, kernel["grid"])), "--block", ",".join(map(str, kernel["block"])),
              "--shared", kernel["shared"], *arguments)
    exact = operands[0].astype(np.float64) @ operands[1].astype(np.float64).T
    result = np.load(folder / "c.npy").view(ml_dtypes.bfloat16).reshape(rows, rows).astype(np.float64)
    return json.loads(out), np.abs(result - exact).max() / np.abs(exact).max()


def assemble(folder, kernel, chip):
    text = run(CUDA / "ptxas", "-v", f"-arch={chip}", kernel["ptx"], "-o", folder / "kernel.cubin")
    return int(re.search(r"Used (\d+) registers", text)[1]), int(re.search(r"(\d+) bytes spill stores", text)[1])


def describe(figures, tile, blocks, rows, depth, out, error):
    """`figures` as nagc profile names them; `out` and `error` are of the run with checks."""
    tile_m, tile_n, _ = tile
    model = 2 * (blocks * (tile_m + tile_n) * depth + rows * rows)
    mma = figures["mma_instructions"]
    return {
        "result": f"{rows} x {rows}",
        "tile": f"{tile_m} x {tile_n}",
        "findings": len(out["findings"]),
        "largest error / largest element": f"{error:.1e}",
        "tensor-core share of FLOPs": f"{figures['tensor_share']:.4f}",
        "PTX instructions of a warp per mma": f"{figures['warp_instructions'] / mma:.2f}",
        "shared loads (ldmatrix) per mma": f"{figures['matrix_loads'] / mma:.2f}",
        "shared bank conflicts": figures["shared_bank_conflicts"],
        "sectors / ideal": f"{figures['sectors_ratio']:.4f}",
        "bytes requested / tile model": f"{figures['bytes_requested'] / model:.4f}",
        "bytes requested per multiply-add": f"{figures['bytes_requested'] / (rows * rows * depth):.5f}",
        "registers, bytes spilled": f"{figures.get('registers', '-')}, {figures.get('spill_bytes', '-')}",
    }


def measure_nag(options, folder):
    part = profile(options.build, folder, options.size, options.chip)
    kernel = compile_nag(options.build, folder, options.rows, options.size, part["schedule"], options.chip)
    out, error = execute(options.build, folder, kernel, options.rows, options.size)
    grid = part["grid"]
    return part["schedule"], describe(part, kernel["tile"], grid[0] * grid[1], options.size, options.size, out, error)


def measure_cuda(options, folder):
    kernel = compile_cuda(folder, options.rows, options.size, options.chip)
    out, error = execute(options.build, folder, kernel, options.rows, options.size)
    counters, classes = out["counters"], out["counters"]["warp_instructions_by_class"]
    registers, spills = assemble(folder, kernel, options.chip)
    figures = {
        "mma_instructions": counters["mma_instructions"],
        "tensor_share": counters["tensor_flops"] / (counters["tensor_flops"] + counters["other_flops"]),
        "warp_instructions": counters["warp_instructions"],
        "matrix_loads": classes["matrix-load"] + classes["load-shared"],
        "shared_bank_conflicts": counters["shared_bank_conflicts"],
        "sectors_ratio": counters["global_sectors"] / counters["global_sectors_ideal"],
        "bytes_requested": counters["global_bytes_read"] + counters["global_bytes_written"],
        "registers": registers,
        "spill_bytes": spills,
    }
    blocks = kernel["grid"][0] * kernel["grid"][1]
    return describe(figures, kernel["tile"], blocks, options.rows, options.size, out, error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--chip", default="sm_80")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        schedule, ours = measure_nag(options, folder)
        columns = {"nagc": ours}
        if (CUDA / "nvcc").exists():
            columns["nvcc"] = measure_cuda(options, folder)
    print(f"GEMM of bf16, sum over {options.size}, {options.chip}, {schedule}")
    print(f"{'':36}" + "".join(f"{name:>14}" for name in columns))
    for name in columns["nagc"]:
        print(f"{name:36}" + "".join(f"{column[name]:>14}" for column in columns.values()))


if __name__ == "__main__":
    main()

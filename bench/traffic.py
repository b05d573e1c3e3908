#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bytes that row-wise GPU kernels move, counted by the PTX machine, against the fewest that they must move.

    bench/traffic.py [--build build] [--chip sm_80] [--width 256 640 1024 4096 8192 16384] [--odd 257 641 1025 4097]

For each kernel: bytes requested (and distinct bytes) over the bar's bytes, 32-byte sectors over the fewest that hold what
was requested, and, where ptxas is installed, registers and spills for sm_80 and sm_90a. The bars: nag.rotate 6 d + 32 bytes
a row in bf16, its VJP 10 d + 64; gate and rotate, a whole boundary between sub-layers, 3.05 rows, its VJP 5.3; AdamW its four
inputs and three results. Beside them, without a bar: the baseline's add and RMS norm and its VJP, and, where nvcc is installed,
fused CUDA C++ kernels of the same (bench/row_peers.cu). All checks of the machine are on: a finding ends the run.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np

import ptx_machine

NVCC = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
PTXAS = shutil.which("ptxas") or "/usr/local/cuda/bin/ptxas"
GENERATOR = np.random.default_rng(0)


def normal(shape, dtype="bf16"):
    return GENERATOR.normal(size=shape).astype({"bf16": ml_dtypes.bfloat16, "f32": np.float32}[dtype])


def function(name, inputs, results, body):
    """`inputs` and `results` map names to types; results are values %out_<name>."""
    arguments = ", ".join(f'%{k}: {t} {{nag.name = "{k}"}}' for k, t in inputs.items())
    types = ", ".join(f'{t} {{nag.name = "{k}"}}' for k, t in results.items())
    values = ", ".join(f"%out_{k}" for k in results)
    return (f"func.func @{name}({arguments}) -> ({types}) {{\n{body}\n"
            f"  return {values} : {', '.join(results.values())}\n}}\n")


def rotate(rows, d):
    row, lane, kind = f"tensor<1x{rows}x{d}xbf16>", f"tensor<1x{rows}xf32>", f"!nag.stream<1x{rows}x{d}xbf16>"
    text = function("f", dict(r=row, s=lane, f=row, g=lane), dict(y=row, t=lane), f"""
  %x = nag.make_stream %r, %s : {kind}
  %z = nag.rotate %x, %f, %g : ({kind}, {row}, {lane}) -> {kind}
  %out_y = nag.direction %z : {kind}
  %out_t = nag.log_norm %z : {kind}""")
    shape = (1, rows, d)
    inputs = dict(r=normal(shape), s=normal((1, rows), "f32"), f=normal(shape), g=normal((1, rows), "f32"))
    return text, inputs, rows * (6 * d + 32)


def rotate_vjp(rows, d):
    row, lane = f"tensor<1x{rows}x{d}xbf16>", f"tensor<1x{rows}xf32>"
    text = function("f", dict(r=row, f=row, g=lane, dy=row, dt=lane), dict(dr=row, df=row, dg=lane), f"""
  %out_dr, %out_df, %out_dg = nag.rotate_vjp %r, %f, %g, %dy, %dt
      : ({row}, {row}, {lane}, {row}, {lane}) -> ({row}, {row}, {lane})""")
    shape = (1, rows, d)
    inputs = dict(r=normal(shape), f=normal(shape), g=normal((1, rows), "f32"), dy=normal(shape),
                  dt=normal((1, rows), "f32"))
    return text, inputs, rows * (10 * d + 64)


def boundary(rows, d, c=32, n=32):
    """A sub-layer's boundary: the gate rides in the branch's first product (of n columns here), the update is a kernel."""
    row, lane, kind = f"tensor<1x{rows}x{d}xbf16>", f"tensor<1x{rows}xf32>", f"!nag.stream<1x{rows}x{d}xbf16>"
    gates, vector, scalar = f"tensor<1x{rows}x{c}xbf16>", f"tensor<{c}xf32>", "tensor<f32>"
    first, weight, directions = f"tensor<1x{rows}x{n}xbf16>", f"tensor<{n}x{d}xbf16>", f"tensor<{c}x{d}xbf16>"
    text = function("f", dict(w=weight, m=directions, b=vector, p=vector, beta=scalar, alpha=scalar, r=row, s=lane, f=row),
                    dict(h=first, y=row, t=lane), f"""
  %out_h = nag.linear %r, %w : ({row}, {weight}) -> {first}
  %z = nag.linear %r, %m : ({row}, {directions}) -> {gates}
  %g = nag.gate %z, %b, %p, %beta, %alpha : ({gates}, {vector}, {vector}, {scalar}, {scalar}) -> {lane}
  %x = nag.make_stream %r, %s : {kind}
  %v = nag.rotate %x, %f, %g : ({kind}, {row}, {lane}) -> {kind}
  %out_y = nag.direction %v : {kind}
  %out_t = nag.log_norm %v : {kind}""")
    shape = (1, rows, d)
    inputs = dict(w=normal((n, d)), m=normal((c, d)), b=normal(c, "f32"), p=normal(c, "f32"), beta=np.float32(0.4).reshape(()),
                  alpha=np.float32(0.8).reshape(()), r=normal(shape), s=normal((1, rows), "f32"), f=normal(shape))
    return text, inputs, rows * 2 * d * 3.05


def measure_boundary(options, d):
    """Bytes of the update's kernel, and the distinct bytes by which the product's kernel moves more than without a gate.

    A branch's product has columns enough for every multiprocessor; the few of the one here must not be split along k.
    """
    rows, c, n = max(options.rows, options.elements // d), 32, 32
    text, inputs, least = boundary(rows, d, c, n)
    whole = {"family": "gemm", "tile": [64, 64, 32], "warps": [2, 2], "stages": 4, "split_k": 1}
    with tempfile.TemporaryDirectory() as directory:
        compile_ptx(options.build, text, Path(directory), options.chip)
        manifest = json.loads(Path(directory, options.chip, "manifest.json").read_text())
        key, = {kernel["key"] for kernel in manifest["kernels"] if "linear" in kernel["name"]}
        schedule = Path(directory, "schedule.json")
        schedule.write_text(json.dumps({"chip": options.chip, "kernels": {key: whole}}))
        outcome = ptx_machine.call(options.build, text, [("f", inputs)], Path(directory), options.chip, counters=True,
                                   options=("--schedule", schedule))
        code = ", ".join(assemble(options.build, text, Path(directory), chip) for chip in ("sm_80", "sm_90a"))
    product, = [counters for name, counters in outcome.counters.items() if "linear" in name]
    update, = [counters for name, counters in outcome.counters.items() if "rotate" in name]
    alone = 2 * (rows * d + (n + c) * d + rows * n)
    added = product["unique_bytes_read"] + product["unique_bytes_written"] - alone
    total = dict(update, global_bytes_read=update["global_bytes_read"] + added,
                 unique_bytes_read=update["unique_bytes_read"] + added)
    note = f"gate: {added / (2 * d * rows):.4f} rows added to the product  {code}"
    return report(f"gate+rotate d={d}", total, 2 * d * rows, least, 1.00, note)


def boundary_vjp(rows, d, c=32):
    """The VJP of gate and update: of a bar of 5.3 rows."""
    row, lane = f"tensor<1x{rows}x{d}xbf16>", f"tensor<1x{rows}xf32>"
    gates, vector, scalar = f"tensor<1x{rows}x{c}xbf16>", f"tensor<{c}xf32>", "tensor<f32>"
    results = dict(dr=row, df=row, dz=gates, db=vector, dp=vector, dbeta=scalar, dalpha=scalar)
    text = function("f", dict(z=gates, b=vector, p=vector, beta=scalar, alpha=scalar, r=row, f=row, g=lane, dy=row, dt=lane),
                    results, f"""
  %out_dr, %out_df, %dg = nag.rotate_vjp %r, %f, %g, %dy, %dt
      : ({row}, {row}, {lane}, {row}, {lane}) -> ({row}, {row}, {lane})
  %out_dz, %out_db, %out_dp, %out_dbeta, %out_dalpha = nag.gate_vjp %z, %b, %p, %beta, %alpha, %dg
      : ({gates}, {vector}, {vector}, {scalar}, {scalar}, {lane}) -> ({gates}, {vector}, {vector}, {scalar}, {scalar})""")
    shape = (1, rows, d)
    inputs = dict(z=normal((1, rows, c)), b=normal(c, "f32"), p=normal(c, "f32"), beta=np.float32(0.4).reshape(()),
                  alpha=np.float32(0.8).reshape(()), r=normal(shape), f=normal(shape), g=normal((1, rows), "f32"),
                  dy=normal(shape), dt=normal((1, rows), "f32"))
    return text, inputs, rows * 2 * d * 5.3


def add_norm(rows, d):
    """The baseline's boundary: the new stream and what the next sub-layer reads."""
    row = f"tensor<1x{rows}x{d}xbf16>"
    text = function("f", dict(x=row, f=row), dict(y=row, z=row), f"""
  %out_y = nag.residual_add %x, %f : ({row}, {row}) -> {row}
  %out_z = nag.rms_norm %out_y : ({row}) -> {row}""")
    return text, dict(x=normal((1, rows, d)), f=normal((1, rows, d))), rows * 2 * d * 4


def add_norm_vjp(rows, d):
    """Its VJP, whose result is the cotangent of both terms."""
    row = f"tensor<1x{rows}x{d}xbf16>"
    text = function("f", dict(y=row, dz=row, dy=row), dict(dx=row), f"""
  %a = nag.rms_norm_vjp %y, %dz : ({row}, {row}) -> {row}
  %out_dx = arith.addf %a, %dy : {row}""")
    return text, {k: normal((1, rows, d)) for k in ("y", "dz", "dy")}, rows * 2 * d * 4


def adamw(rows, d):
    kind, scalar = f"tensor<{rows}x{d}xf32>", "tensor<f32>"
    text = function("f", dict(p=kind, m=kind, v=kind, g=kind, lr=scalar, step=scalar, factor=scalar),
                    dict(q=kind, n=kind, w=kind), f"""
  %out_q, %out_n, %out_w = nag.adamw %p, %m, %v, %g, %lr, %step, %factor
      group <lr_scale = 1.0, weight_decay = 0.1, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>
      : ({kind}, {kind}, {kind}, {kind}, {scalar}, {scalar}, {scalar}) -> ({kind}, {kind}, {kind})""")
    inputs = {k: abs(normal((rows, d), "f32")) for k in "pmvg"}
    inputs |= {k: np.float32(x).reshape(()) for k, x in dict(lr=0.01, step=3, factor=1).items()}
    return text, inputs, 28 * rows * d


def compile_ptx(build, text, folder, chip):
    module = folder / "module.mlir"
    module.write_text(text)
    subprocess.run([build / "bin/nagc", "compile", module, "--target", "cuda", "--chip", chip, "--emit", "ptx", "-o",
                    folder / chip], check=True)


def assemble(build, text, folder, chip):
    """Registers and spilled bytes of the largest kernel, or nothing without ptxas."""
    if not Path(PTXAS).exists():
        return ""
    compile_ptx(build, text, folder, chip)
    done = subprocess.run([PTXAS, "-v", f"-arch={chip}", folder / chip / "kernels.ptx", "-o", os.devnull],
                          check=True, capture_output=True, text=True)
    spills = sum(int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr))
    registers = max(int(n) for n in re.findall(r"Used (\d+) registers", done.stderr))
    return f"{chip}: {registers} registers, {spills} B spilled"


COUNTERS = ("global_bytes_read", "global_bytes_written", "unique_bytes_read", "unique_bytes_written", "global_sectors",
            "global_sectors_ideal")


def report(name, counters, row_bytes, least=None, bar=None, note=""):
    """Prints rows moved, and against a bar whether it is met."""
    requested = counters["global_bytes_read"] + counters["global_bytes_written"]
    distinct = counters["unique_bytes_read"] + counters["unique_bytes_written"]
    met = bar is None or requested <= bar * least
    text = f"{name:24} {requested / row_bytes:8.4f} rows requested {distinct / row_bytes:8.4f} distinct "
    if bar is not None:
        text += f"{requested / least:.4f} of the bytes (bar {bar:.2f} {'met' if met else 'MISSED'}) "
    print(f"{text}sectors/ideal {counters['global_sectors'] / counters['global_sectors_ideal']:.4f}  {note}", flush=True)
    return met


ROW, LANE, MIXTURE = "f16[{n}]", "f32[{r}]", "f32[32]:random"  # f16: any bits of 16
PEERS = {  # a kernel of bench/row_peers.cu and its arguments
    "gate+rotate": ("gate_rotate", [f"{ROW}:random", f"{ROW}:random=2", "f16[{z}]:random=3", MIXTURE, MIXTURE, f"{LANE}:random",
                                    f"{ROW}:uninit", f"{LANE}:uninit"]),
    "rotate VJP": ("rotate_vjp", [f"{ROW}:random", f"{ROW}:random=2", f"{LANE}:random", f"{ROW}:random=3", f"{LANE}:random=2",
                                  f"{ROW}:uninit", f"{ROW}:uninit", f"{LANE}:uninit"]),
    "add+norm": ("add_norm", [f"{ROW}:random", f"{ROW}:random=2", f"{ROW}:uninit", f"{ROW}:uninit"]),
}


def measure_peers(options, d):
    """The same counters of fused CUDA C++ kernels."""
    if not Path(NVCC).exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        ptx = Path(folder, "peers.ptx")
        subprocess.run([NVCC, "-O3", f"-arch={options.chip}", f"-DWIDTH={d}", "--ptx",
                        Path(__file__).resolve().parent / "row_peers.cu", "-o", ptx], check=True)
        for name, (entry, arguments) in PEERS.items():
            sizes = dict(n=options.rows * d, z=options.rows * 32, r=options.rows)
            command = [options.build / "bin/ptx-vm", "run", ptx, "--entry", entry, "--json", "--grid", str(options.rows),
                       "--block", str(min(256, d // 8))]
            for argument in arguments:
                command += ["--arg", argument.format(**sizes)]
            done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            report(f"nvcc: {name} d={d}", done["counters"], 2 * d * options.rows)


def measure(options, name, case, bar, rows, d):
    text, inputs, least = case
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        outcome = ptx_machine.call(options.build, text, [("f", inputs)], folder, options.chip, counters=True)
        code = ", ".join(assemble(options.build, text, folder, chip) for chip in ("sm_80", "sm_90a"))
    total = {key: sum(counters[key] for counters in outcome.counters.values()) for key in COUNTERS}
    return report(name, total, 2 * d * rows, least, bar, code)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parents[1] / "build")
    parser.add_argument("--chip", default="sm_80", choices=["sm_80", "sm_90a"])
    parser.add_argument("--rows", type=int, default=1024, help="fewer leave most of a GPU idle, and schedules for that read more")
    parser.add_argument("--elements", type=int, default=2**23, help="of the boundary's tensors, so that parameters weigh little")
    parser.add_argument("--width", type=int, nargs="*", default=[256, 640, 1024, 4096, 8192, 16384])
    parser.add_argument("--odd", type=int, nargs="*", default=[257, 641, 1025, 4097])
    options = parser.parse_args()
    met = []
    for d, bar in [(d, 1.01) for d in options.width] + [(d, 1.10) for d in options.odd]:
        met.append(measure(options, f"rotate d={d}", rotate(options.rows, d), bar, options.rows, d))
        met.append(measure(options, f"rotate VJP d={d}", rotate_vjp(options.rows, d), bar, options.rows, d))
    for d in options.width:
        rows = max(options.rows, options.elements // d)
        met.append(measure_boundary(options, d))
        met.append(measure(options, f"gate+rotate VJP d={d}", boundary_vjp(rows, d), 1.00, rows, d))
        measure(options, f"add+norm d={d}", add_norm(options.rows, d), None, options.rows, d)
        measure(options, f"add+norm VJP d={d}", add_norm_vjp(options.rows, d), None, options.rows, d)
        measure_peers(options, d)
    for rows, d in ((64, 4096), (1, 100000), (1000, 33)):
        met.append(measure(options, f"adamw {rows}x{d}", adamw(rows, d), 1.02, rows, 2 * d))
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()

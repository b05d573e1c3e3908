#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bytes that row-wise GPU kernels move, counted by the PTX machine, against the fewest that they must move.

    bench/traffic.py [--build build] [--chip sm_80] [--width 256 640 1024 4096 8192 16384] [--odd 257 641 1025 4097]

For each kernel: bytes requested (and distinct bytes) over the bar's bytes, 32-byte sectors over the fewest that hold what
was requested, and, where ptxas is installed, registers and spills for sm_80 and sm_90a. The bars: nag.rotate 6 d + 32 bytes
a row in bf16, its VJP 10 d + 64; gate and rotate with one row of activations more, and what the parameters take; AdamW its four
inputs and three results. All checks of the machine are on: a finding ends the run.
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


def boundary(rows, d, c=32):
    """The gate, from its C products a row, and the update: of a bar of 3.05 rows."""
    row, lane, kind = f"tensor<1x{rows}x{d}xbf16>", f"tensor<1x{rows}xf32>", f"!nag.stream<1x{rows}x{d}xbf16>"
    gates, vector, scalar = f"tensor<1x{rows}x{c}xbf16>", f"tensor<{c}xf32>", "tensor<f32>"
    text = function("f", dict(z=gates, b=vector, p=vector, beta=scalar, alpha=scalar, r=row, s=lane, f=row),
                    dict(y=row, t=lane), f"""
  %g = nag.gate %z, %b, %p, %beta, %alpha : ({gates}, {vector}, {vector}, {scalar}, {scalar}) -> {lane}
  %x = nag.make_stream %r, %s : {kind}
  %w = nag.rotate %x, %f, %g : ({kind}, {row}, {lane}) -> {kind}
  %out_y = nag.direction %w : {kind}
  %out_t = nag.log_norm %w : {kind}""")
    shape = (1, rows, d)
    inputs = dict(z=normal((1, rows, c)), b=normal(c, "f32"), p=normal(c, "f32"), beta=np.float32(0.4).reshape(()),
                  alpha=np.float32(0.8).reshape(()), r=normal(shape), s=normal((1, rows), "f32"), f=normal(shape))
    return text, inputs, rows * 2 * d * 3.05


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


def assemble(build, text, folder, chip):
    """Registers and spilled bytes of the largest kernel, or nothing without ptxas."""
    if not Path(PTXAS).exists():
        return ""
    module = folder / "module.mlir"
    module.write_text(text)
    subprocess.run([build / "bin/nagc", "compile", module, "--target", "cuda", "--chip", chip, "--emit", "ptx", "-o",
                    folder / chip], check=True)
    done = subprocess.run([PTXAS, "-v", f"-arch={chip}", folder / chip / "kernels.ptx", "-o", os.devnull],
                          check=True, capture_output=True, text=True)
    spills = sum(int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr))
    registers = max(int(n) for n in re.findall(r"Used (\d+) registers", done.stderr))
    return f"{chip}: {registers} registers, {spills} B spilled"


def measure(options, name, case, bar):
    text, inputs, least = case
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        outcome = ptx_machine.call(options.build, text, [("f", inputs)], folder, options.chip, counters=True)
        code = ", ".join(assemble(options.build, text, folder, chip) for chip in ("sm_80", "sm_90a"))
    total = {key: sum(counters[key] for counters in outcome.counters.values())
             for key in ("global_bytes_read", "global_bytes_written", "unique_bytes_read", "unique_bytes_written",
                         "global_sectors", "global_sectors_ideal")}
    requested = (total["global_bytes_read"] + total["global_bytes_written"]) / least
    distinct = (total["unique_bytes_read"] + total["unique_bytes_written"]) / least
    sectors = total["global_sectors"] / total["global_sectors_ideal"]
    met = requested <= bar
    print(f"{name:24} requested {requested:.4f} distinct {distinct:.4f} (bar {bar:.2f} {'met' if met else 'MISSED'}) "
          f"sectors/ideal {sectors:.4f}  {code}", flush=True)
    return met


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parents[1] / "build")
    parser.add_argument("--chip", default="sm_80", choices=["sm_80", "sm_90a"])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--width", type=int, nargs="*", default=[256, 640, 1024, 4096, 8192, 16384])
    parser.add_argument("--odd", type=int, nargs="*", default=[257, 641, 1025, 4097])
    options = parser.parse_args()
    met = []
    for d, bar in [(d, 1.01) for d in options.width] + [(d, 1.10) for d in options.odd]:
        met.append(measure(options, f"rotate d={d}", rotate(options.rows, d), bar))
        met.append(measure(options, f"rotate_vjp d={d}", rotate_vjp(options.rows, d), bar))
    for d in options.width:
        met.append(measure(options, f"gate+rotate d={d}", boundary(max(options.rows, 2**23 // d), d), 1.00))
    for rows, d in ((64, 4096), (1, 100000), (1000, 33)):
        met.append(measure(options, f"adamw {rows}x{d}", adamw(rows, d), 1.02))
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()

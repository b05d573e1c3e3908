#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Memory throughput of row-wise CPU kernels against memcpy of as many bytes, in one process.

    bench/row_kernels.py [--build build] [--threads 2] [--rows 2048 8192] [--width 128 1024]

Prints one line per kernel and size: compulsory GB/s, memcpy's GB/s on the same threads, their ratio.
"""

import argparse
import ctypes
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

LLVM = Path(os.environ.get("LLVM_BIN", "/usr/lib/llvm-22/bin"))

KERNELS = {
    "rotate": (["row r", "lane s", "row f", "lane g"], ["row", "lane"], """
  %x = nag.make_stream %r, %s : !nag.stream<NxDxf32>
  %y = nag.rotate %x, %f, %g : (!nag.stream<NxDxf32>, tensor<NxDxf32>, tensor<Nxf32>) -> !nag.stream<NxDxf32>
  %v0 = nag.direction %y : !nag.stream<NxDxf32>
  %v1 = nag.log_norm %y : !nag.stream<NxDxf32>"""),
    "rotate_vjp": (["row r", "row f", "lane g", "row G", "lane S"], ["row", "row", "lane"], """
  %v0, %v1, %v2 = nag.rotate_vjp %r, %f, %g, %G, %S
      : (tensor<NxDxf32>, tensor<NxDxf32>, tensor<Nxf32>, tensor<NxDxf32>, tensor<Nxf32>)
      -> (tensor<NxDxf32>, tensor<NxDxf32>, tensor<Nxf32>)"""),
    "gate": (["gates z", "c b", "c p", "scalar beta", "scalar alpha"], ["lane"], """
  %v0 = nag.gate %z, %b, %p, %beta, %alpha
      : (tensor<Nx32xf32>, tensor<32xf32>, tensor<32xf32>, tensor<f32>, tensor<f32>) -> tensor<Nxf32>"""),
    "gate_vjp": (["gates z", "c b", "c p", "scalar beta", "scalar alpha", "lane dg"],
                 ["gates", "c", "c", "scalar", "scalar"], """
  %v0, %v1, %v2, %v3, %v4 = nag.gate_vjp %z, %b, %p, %beta, %alpha, %dg
      : (tensor<Nx32xf32>, tensor<32xf32>, tensor<32xf32>, tensor<f32>, tensor<f32>, tensor<Nxf32>)
      -> (tensor<Nx32xf32>, tensor<32xf32>, tensor<32xf32>, tensor<f32>, tensor<f32>)"""),
    "token_loss": (["row z", "token t"], ["lane", "lane"], """
  %v0, %v1 = nag.token_loss %z, %t {vocab = D} : (tensor<NxDxf32>, tensor<Nxi32>) -> (tensor<Nxf32>, tensor<Nxf32>)"""),
    "token_loss_vjp": (["row z", "token t", "lane lse", "lane dl"], ["row"], """
  %v0 = nag.token_loss_vjp %z, %t, %lse, %dl {vocab = D}
      : (tensor<NxDxf32>, tensor<Nxi32>, tensor<Nxf32>, tensor<Nxf32>) -> tensor<NxDxf32>"""),
    "rms_norm": (["row x"], ["row"], """
  %v0 = nag.rms_norm %x : (tensor<NxDxf32>) -> tensor<NxDxf32>"""),
    "relu2": (["row x"], ["row"], """
  %v0 = nag.relu2 %x : (tensor<NxDxf32>) -> tensor<NxDxf32>"""),
    "gelu": (["row x"], ["row"], """
  %v0 = nag.gelu %x : (tensor<NxDxf32>) -> tensor<NxDxf32>"""),
    "adamw": (["row p", "row m", "row v", "row g", "scalar lr", "scalar step", "scalar factor"],
              ["row", "row", "row"], """
  %v0, %v1, %v2 = nag.adamw %p, %m, %v, %g, %lr, %step, %factor
      group <lr_scale = 1.0, weight_decay = 0.1, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>
      : (tensor<NxDxf32>, tensor<NxDxf32>, tensor<NxDxf32>, tensor<NxDxf32>, tensor<f32>, tensor<f32>, tensor<f32>)
      -> (tensor<NxDxf32>, tensor<NxDxf32>, tensor<NxDxf32>)"""),
}
SHAPES = {"row": "NxDx", "gates": "Nx32x", "lane": "Nx", "token": "Nx", "c": "32x", "scalar": ""}


def tensor(kind):
    return f"tensor<{SHAPES[kind]}{'i32' if kind == 'token' else 'f32'}>"


def kernel_text(name, rows, width):
    inputs, results, body = KERNELS[name]
    arguments = [f"%{i.split()[1]}: {tensor(i.split()[0])}" for i in inputs]
    arguments += [f"%out{i}: {tensor(kind)}" for i, kind in enumerate(results)]
    stores = "\n".join(f"  %w{i} = bufferization.materialize_in_destination %v{i} in %out{i} : "
                       f"({tensor(k)}, {tensor(k)}) -> {tensor(k)}" for i, k in enumerate(results))
    types = ", ".join(map(tensor, results))
    returned = ", ".join(f"%w{i}" for i in range(len(results)))
    text = (f"func.func @{name}_{rows}_{width}({', '.join(arguments)}) -> ({types}) attributes {{nag.kernel}} {{"
            f"{body}\n{stores}\n  return {returned} : {types}\n}}\n")
    return (text.replace("NxDx", f"{rows}x{width}x").replace("Nx", f"{rows}x").replace("= D}", f"= {width}}}"))


def compile_kernels(text, build, folder):
    (folder / "kernels.mlir").write_text(text)
    run = lambda *command: subprocess.run([str(c) for c in command], check=True)
    run(build / "bin" / "nag-opt", "--nag-cpu-kernels", folder / "kernels.mlir", "-o", folder / "llvm.mlir")
    run(LLVM / "mlir-translate", "--mlir-to-llvmir", folder / "llvm.mlir", "-o", folder / "kernels.ll")
    run(LLVM / "clang", "-O3", "-march=native", "-Wno-override-module", "-fPIC", "-shared", "-fopenmp",
        folder / "kernels.ll", "-o", folder / "kernels.so", "-lm", f"-Wl,-rpath,{LLVM.parent / 'lib'}")
    return ctypes.CDLL(str(folder / "kernels.so"))


def make_array(kind, rows, width, random):
    shape = {"row": (rows, width), "gates": (rows, 32), "lane": (rows,), "token": (rows,), "c": (32,), "scalar": ()}[kind]
    if kind == "token":
        return random.integers(0, width, shape, dtype=np.int32)
    return np.asarray(np.abs(random.standard_normal(shape)) + 0.1, np.float32)


def best_time(call, seconds):
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def copy_call(size, threads, pool):
    """Copies size/2 bytes, so that `size` bytes move."""
    source, target = np.ones(size // 2, np.uint8), np.ones(size // 2, np.uint8)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads)))
    if threads == 1:
        return lambda: np.copyto(target, source)
    return lambda: list(pool.map(lambda part: np.copyto(*part), parts))


def measure(library, name, rows, width, arguments, pool):
    random = np.random.default_rng(0)
    inputs, results, _ = KERNELS[name]
    kinds = [i.split()[0] for i in inputs] + results
    arrays = [make_array(kind, rows, width, random) for kind in kinds]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
    function = getattr(library, f"{name}_{rows}_{width}")
    size = sum(a.nbytes for a in arrays)
    kernel = best_time(lambda: function(*pointers), arguments.seconds)
    copy = best_time(copy_call(size, arguments.threads, pool), arguments.seconds)
    print(f"{name:15} {rows:6} x {width:<5} {kernel * 1e6:9.1f} us {size / kernel / 1e9:7.2f} GB/s   "
          f"memcpy {size / copy / 1e9:7.2f} GB/s   ratio {copy / kernel:5.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--width", type=int, nargs="+", default=[128, 1024])
    parser.add_argument("--seconds", type=float, default=0.3, help="time per measurement")
    parser.add_argument("--kernel", nargs="+", choices=KERNELS, default=list(KERNELS))
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    sizes = [(rows, width) for rows in arguments.rows for width in arguments.width]
    text = "".join(kernel_text(name, *size) for name in arguments.kernel for size in sizes)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.threads) as pool:
        library = compile_kernels(text, arguments.build, Path(folder))
        for name in arguments.kernel:
            for size in sizes:
                measure(library, name, *size, arguments, pool)


if __name__ == "__main__":
    main()

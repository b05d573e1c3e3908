# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Speed of the PTX machine on one core in processor time, and what its checks and counters cost.

    python bench/ptxvm.py [--vm build/bin/ptx-vm]

elementwise: 32 dependent fused multiply-adds and maxima per element; mma: nothing but mma.sync m16n8k16 bf16;
shared gemm: f32, two shared loads per multiply-add; tensor gemm: ldmatrix and mma.sync from shared memory. All as nvcc
compiles test/PTXVM/Inputs/kernels.cu. A rate is the best of several launches.
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PTX = ROOT / "test/PTXVM/Inputs/kernels.ptx"
N = 1 << 16
F32 = f"f32[{N}]:random=1"
KERNELS = {  # entry, grid, block, arguments, rate that is asked for
    "elementwise": ("elementwise", "256", "256", [F32, f"f32[{N}]:random=2", f"f32[{N}]:zero", f"s32:{N}"], 300),
    "mma": ("mmaLoop", "1", "32", ["u32[192]:fill=0x3f803f80", "f32[256]:zero", "s32:5000"], 10),
    "shared gemm": ("tiledGemm", "16,16", "16,16", [F32, F32, f"f32[{N}]:zero", "s32:256"], None),
    "tensor gemm": ("tensorGemm", "32,16", "32", [f"f16[{N}]:random", f"f16[{N}]:random", f"f32[{N}]:zero", "s32:256",
                                                  "s32:256"], None)}


def run(vm, name, *options):
    entry, grid, block, arguments, _ = KERNELS[name]
    command = [vm, "run", str(PTX), "--threads", "1", "--repeat", "7", "--time", "--entry", entry, "--grid", grid,
               "--block", block, *options]
    for argument in arguments:
        command += ["--arg", argument]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vm", default=str(ROOT / "build/bin/ptx-vm"))
    vm = parser.parse_args().vm
    print(f"{'kernel':<12} {'M thread-instructions/s':>24} {'GMAC/s mma.sync':>16} {'bar':>5} {'slower with checks':>19} "
          f"{'with counters':>14}")
    for name, (*_, bar) in KERNELS.items():
        fast, checked = run(vm, name, "--check", "none"), run(vm, name, "--check", "all")
        counted = run(vm, name, "--check", "none", "--counters")
        seconds = fast["processor_seconds"]
        macs = fast["tensor_flops"] / 2 / seconds / 1e9
        print(f"{name:<12} {fast['thread_instructions'] / seconds / 1e6:>24.0f} {macs or float('nan'):>16.1f} {bar or '':>5} "
              f"{checked['processor_seconds'] / seconds:>18.1f}x {counted['processor_seconds'] / seconds:>13.1f}x")


main()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Speed of the PTX machine on one core, and what its checks cost.

usage: bench/ptxvm.py [--vm build/bin/ptx-vm]
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PTX = ROOT / "test/PTXVM/Inputs/kernels.ptx"


def run(vm, check, *args):
    """Best of three launches on one thread; the profile is off."""
    command = [vm, "run", str(PTX), "--threads", "1", "--check", check, "--repeat", "3", "--time", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vm", default=str(ROOT / "build/bin/ptx-vm"))
    vm = parser.parse_args().vm
    n = 1 << 16
    elementwise = ["--entry", "elementwise", "--grid", str(n // 256), "--block", "256",
                   "--arg", f"f32[{n}]:random=1", "--arg", f"f32[{n}]:random=2", "--arg", f"f32[{n}]:zero",
                   "--arg", f"s32:{n}"]
    mma = ["--entry", "mmaLoop", "--grid", "1", "--block", "32", "--arg", "u32[192]:fill=0x3f803f80",
           "--arg", "f32[256]:zero", "--arg", "s32:20000"]
    fast, slow = run(vm, "none", *elementwise), run(vm, "all", *elementwise)
    rate = fast["thread_instructions"] / fast["seconds"] / 1e6
    print(f"elementwise: {rate:.0f} million thread-instructions/s/core (bar: 300); "
          f"with every check {slow['seconds'] / fast['seconds']:.1f} times slower")
    fast, slow = run(vm, "none", *mma), run(vm, "all", *mma)
    rate = fast["tensor_flops"] / 2 / fast["seconds"] / 1e9
    print(f"mma.sync:    {rate:.1f} GMAC/s/core (bar: 10); "
          f"with every check {slow['seconds'] / fast['seconds']:.1f} times slower")


main()

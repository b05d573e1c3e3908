# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compile time of the deep preset with 64 layers against the same model with 4, and JAX's beside it.

    python bench/compile_time.py

Seconds are processor time, which other work on the machine does not lengthen: the median of the rounds. nagc's include
starting the process; JAX's are tracing and compiling alone.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (4, 64)


def nag_seconds(nagc, layers, folder):
    model = folder / f"deep{layers}.mlir"
    subprocess.run([nagc, "model", "--preset", "deep", f"--set=layers={layers}", "-o", model], check=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([nagc, "compile", model, "--target", "cpu", "--emit", "object", "-o", folder / f"deep{layers}"],
                   check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def jax_seconds(form, layers):
    """Tracing and compiling the train step, without starting Python."""
    command = [sys.executable, ROOT / "bench" / "jax_train.py", "measure", "--single", "deep" + form, "--seconds", "0",
               f"--set=layers={layers}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["compile_cpu_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rounds = [[nag_seconds(options.build / "bin" / "nagc", layers, Path(folder)) for layers in LAYERS]
                  for _ in range(options.rounds)]
    few, many = (statistics.median(times) for times in zip(*rounds))
    print(f"nagc compile: {few:.2f} s with {LAYERS[0]} layers, {many:.2f} s with {LAYERS[1]}, {many / few:.2f} x")
    for form, name in (("", "unrolled"), (":scan", "scan over layers")):
        few, many = (jax_seconds(form, layers) for layers in LAYERS)
        print(f"JAX, {name}: {few:.2f} s with {LAYERS[0]} layers, {many:.2f} s with {LAYERS[1]}, {many / few:.2f} x")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What depth costs at compile time and at launch: `deep` (64 layers) against the same model with 4, and launches against their bound.

Prints one JSON line per target: processor seconds of `nagc compile`, the ratio (bar: 1.5), distinct kernels of both, and for each the launches of
a training step against 7 L forward + 13 L backward + 12.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


# Functions of a training step.
STEPS = {"cpu": ["train_step"], "cuda": ["gradients", "apply"]}


def compile_model(build, target, layers, folder):
    """Processor seconds, launches of a step, distinct kernels."""
    path = folder / f"deep-{layers}.mlir"
    nagc = str(build / "bin" / "nagc")
    subprocess.run([nagc, "model", "--preset", "deep", f"--set=layers={layers}", "-o", path], check=True)
    output = folder / "output"
    with open(output, "w") as stream:
        process = subprocess.Popen([nagc, "compile", str(path), "--target", target, "--report-launches", "-o", str(folder / "out")],
                                   stdout=stream)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"nagc compile {path} failed")
    text = output.read_text()
    launches = sum(int(re.search(rf"launches @{name}: (\d+)", text)[1]) for name in STEPS[target])
    return usage.ru_utime + usage.ru_stime, launches, int(re.search(r"distinct kernels: (\d+)", text)[1])


def measure(options, target):
    result = {"target": target}
    with tempfile.TemporaryDirectory() as scratch:
        for layers in (4, 64):
            runs = [compile_model(options.build, target, layers, pathlib.Path(scratch)) for _ in range(options.rounds)]
            _, launches, kernels = runs[0]
            result[f"L{layers}"] = {"compile_cpu_s": round(statistics.median(run[0] for run in runs), 2), "launches": launches,
                                    "launch_bound": 20 * layers + 12, "kernels": kernels}
    result["compile_ratio"] = round(result["L64"]["compile_cpu_s"] / result["L4"]["compile_cpu_s"], 3)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--targets", nargs="+", choices=STEPS, default=list(STEPS))
    options = parser.parse_args()
    for target in options.targets:
        print(json.dumps(measure(options, target)), flush=True)


if __name__ == "__main__":
    main()

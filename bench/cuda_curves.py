# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The losses of `nagc train --target cuda` on the PTX machine or a GPU beside those of the CPU: the preset tiny, 50 steps, one seed.

    python bench/cuda_curves.py --runs runs/curves [--device vm] [--chip sm_80]

f32 twice, and bf16. Prints the largest relative difference of a loss to the CPU's and whether both f32 runs left the same
bytes; exits with 1 when f32 is further than 1e-4 from the CPU, bf16 than 1 %, or the bytes differ. The PTX machine's checks
are off, which takes eight processor seconds a step and not 24: bench/cuda_parity.py runs a step of every kernel with all. Logs and
checkpoints stay in the folder; a run whose log is complete is not repeated.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FORTUNES = "/usr/share/games/fortunes"
RUNS = {"cpu": "", "f32": "f32", "f32 again": "f32", "bf16": "bf16"}  # the precision on the device
LIMITS = {"f32": 1e-4, "bf16": 1e-2}


def target_options(options, precision):
    return ("--target", "cuda", "--device", options.device, "--chip", options.chip, "--precision", precision) if precision else ()


def file_name(name):
    return name.replace(" ", "-")


def train(options, name):
    """The losses of a run, after training where its log is not complete."""
    folder = options.runs / file_name(name)
    losses = read_losses(folder)
    if len(losses) >= options.steps:
        return losses
    print(f"training {name} ...", file=sys.stderr, flush=True)
    command = [options.build / "bin" / "nagc", "train", options.runs / "model.mlir", "--data", FORTUNES, "--steps", options.steps,
               "--seed", 0, "--val-interval", 0, "--checkpoint-dir", folder, *target_options(options, RUNS[name])]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"NAG_PTXVM_CHECKS": "none"})
    return read_losses(folder)


def read_losses(folder):
    path = folder / "log.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line["loss"] for line in lines if "loss" in line]


def difference(losses, expected):
    return max(abs(x / y - 1) for x, y in zip(losses, expected, strict=True))


def same_bytes(options, first, second):
    """Parameters and optimizer state of two runs, bit for bit."""
    def newest(name):
        return max((options.runs / file_name(name)).glob("*.safetensors"))

    return newest(first).read_bytes() == newest(second).read_bytes()


def print_curves(curves):
    print(f"step  {'  '.join(f'{name:>9}' for name in curves)}")
    steps = len(curves["cpu"])
    for step in sorted({0, *range(4, steps, 5), steps - 1}):
        print(f"{step + 1:>4}  {'  '.join(f'{losses[step]:9.6f}' for losses in curves.values())}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--runs", type=lambda path: ROOT / path, default=ROOT / "runs" / "curves")
    parser.add_argument("--device", default="vm", help="vm, or the number of a GPU")
    parser.add_argument("--chip", default="sm_80", choices=["sm_80", "sm_90a"])
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args()
    if options.steps < 1:
        parser.error("expected a positive number of steps")
    options.runs.mkdir(parents=True, exist_ok=True)
    model = [options.build / "bin" / "nagc", "model", "--preset", options.preset, "-o", options.runs / "model.mlir"]
    subprocess.run(model, check=True)
    curves = {name: train(options, name) for name in RUNS}
    print_curves(curves)
    good = True
    for name, limit in LIMITS.items():
        furthest = difference(curves[name], curves["cpu"])
        print(f"{name}: at most {furthest:.1e} from the CPU, relative (limit {limit:.0e})")
        good &= furthest <= limit
    equal = same_bytes(options, "f32", "f32 again")
    print(f"f32 twice: checkpoints are {'equal' if equal else 'not equal'}, losses "
          f"{'equal' if curves['f32'] == curves['f32 again'] else 'not equal'}")
    sys.exit(0 if good and equal else 1)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Validation loss at equal training FLOPs: NAG with 0, 12.5 and 25 % of the tokens skipping, and the pre-norm baseline.

    python bench/iso_flops.py --steps 500 --seeds 0 1 2          # the budget is what the dense NAG model spends in 500 steps
    python bench/iso_flops.py --presets deep --steps 200

Every run gets the same number of executed FLOPs (`nagc train --flops-budget`), so what skips trains on more tokens. Prints
a line per run and the means. Options behind `--` go to `nagc model` (`-- --set batch=8`).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FORTUNES = "/usr/share/games/fortunes"
VARIANTS = {"nag": [], "nag 12.5 %": ["--mod-policy", "capacity", "--mod-rate", "0.125"],
            "nag 25 %": ["--mod-policy", "capacity", "--mod-rate", "0.25"], "prenorm": ["--residual", "prenorm"]}


def nagc(build, *arguments):
    result = subprocess.run([build / "bin" / "nagc", *map(str, arguments)], capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr.strip())
    return result.stdout


def budget_of(build, folder, preset, steps, extra):
    nagc(build, "model", "--preset", preset, *extra, "-o", folder / "dense.mlir")
    cost = json.loads(nagc(build, "flops", folder / "dense.mlir", "--json"))
    return steps * cost["flops_per_step"]["total"]


def train(build, folder, preset, settings, budget, seed, options):
    model, log = folder / "model.mlir", folder / "log.jsonl"
    nagc(build, "model", "--preset", preset, *settings, *options.model, "-o", model)
    nagc(build, "train", model, "--data", options.data, "--flops-budget", budget, "--seed", seed, "--threads",
         options.threads, "--val-interval", 10**9, "--log", log)
    return json.loads(log.read_text().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--presets", nargs="+", default=["tiny"])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", default=FORTUNES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("model", nargs="*", help="options of nagc model, behind --")
    options = parser.parse_args()
    print(f"{'preset':8} {'variant':12} {'seed':>4} {'steps':>6} {'FLOPs':>10} {'val nats/byte':>14}")
    for preset in options.presets:
        losses = {name: [] for name in VARIANTS}
        with tempfile.TemporaryDirectory() as scratch:
            budget = budget_of(options.build, Path(scratch), preset, options.steps, options.model)
            for seed in options.seeds:
                for name, settings in VARIANTS.items():
                    last = train(options.build, Path(scratch), preset, settings, budget, seed, options)
                    losses[name].append(last["val_loss"])
                    print(f"{preset:8} {name:12} {seed:4} {last['step']:6} {last['executed']['total_flops']:10.3e} "
                          f"{last['val_loss']:14.4f}", flush=True)
        for name, values in losses.items():
            spread = max(values) - min(values)
            print(f"{preset:8} {name:12} mean of {len(values)}: {statistics.mean(values):.4f}, spread {spread:.4f}")


if __name__ == "__main__":
    main()

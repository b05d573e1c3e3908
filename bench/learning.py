# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What nagc's defaults learn on real text: the preset tiny, both residuals, three seeds, and the gates of the preset deep.

    python bench/learning.py --runs runs/learning

Prints the validation loss of every run (nats per byte), and for deep the smallest mean |g| of its 128 sub-layers and the
number of dead ones (mean |g| < 0.05) as training goes on. Logs stay in the folder; a run whose log is complete is not
repeated. A plain reference of the mathematics reached 2.11 (nag) and 2.31 (prenorm) on tiny.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FORTUNES = "/usr/share/games/fortunes"
SEEDS = (0, 1, 2)
STEPS = {"tiny": 500, "deep": 200}
BAR = 2.2  # nats per byte, tiny with the nag residual


class Runs:
    def __init__(self, nagc, folder, threads):
        self.nagc, self.folder, self.threads = nagc, folder, threads
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, preset, residual, seed):
        """The lines of a run's log, after training where there is none."""
        path = self.folder / f"{preset}-{residual}-{seed}.jsonl"
        lines = read(path)
        if not lines or lines[-1]["step"] != STEPS[preset]:
            self.train(preset, residual, seed, path)
            lines = read(path)
        return lines

    def train(self, preset, residual, seed, path):
        print(f"training {path.stem} ...", file=sys.stderr, flush=True)
        model = self.folder / f"{preset}-{residual}.mlir"
        subprocess.run([self.nagc, "model", "--preset", preset, "--residual", residual, "-o", model], check=True)
        command = [self.nagc, "train", model, "--data", FORTUNES, "--steps", STEPS[preset], "--seed", seed, "--threads",
                   self.threads, "--gate-interval", 20, "--log", path]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def print_tiny(runs):
    print(f"tiny, {STEPS['tiny']} steps   {'   '.join(f'seed {seed}' for seed in SEEDS)}      mean")
    good = True
    for residual in ("nag", "prenorm"):
        losses = [runs.log("tiny", residual, seed)[-1]["val_loss"] for seed in SEEDS]
        print(f"{residual:>15}   {'   '.join(f'{loss:.4f}' for loss in losses)}    {statistics.mean(losses):.4f}", flush=True)
        good &= residual != "nag" or max(losses) < BAR
    return good


def print_deep(runs):
    lines = runs.log("deep", "nag", 0)
    print(f"\ndeep, {STEPS['deep']} steps: validation {lines[-1]['val_loss']:.4f}, every loss finite: "
          f"{all(math.isfinite(line['loss']) for line in lines)}")
    print("step    loss  smallest mean |g|  of sub-layer  dead")
    for line in (line for line in lines if "gates" in line):
        means = line["gates"]["mean"]
        print(f"{line['step']:>4}  {line['loss']:.4f}  {min(means):>17.4f}  {means.index(min(means)):>12}  "
              f"{line['gates']['dead']:>4}")
    return lines[-1]["gates"]["dead"] == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "learning")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    runs = Runs(options.build / "bin" / "nagc", options.runs, options.threads)
    good = print_tiny(runs)
    good &= print_deep(runs)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

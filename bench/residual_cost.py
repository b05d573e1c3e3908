# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What NAG's residual costs: its training step against that of the pre-norm baseline, on this compiler.

Prints one JSON line per model. `ratio` is NAG's step time over the baseline's, the median over rounds that alternate between the two, so
that both see the same machine. `cpu_ratio` is the same of processor time.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FORTUNES = "/usr/share/games/fortunes"
MODELS = {"tiny": ("tiny", []), "small": ("small", []),
          "d512": ("small", ["layers=12", "width=512", "heads=8", "batch=4"])}


def model_file(build, name, residual, folder):
    preset, settings = MODELS[name]
    path = folder / f"{name}-{residual}.mlir"
    subprocess.run([build / "bin" / "nagc", "model", "--preset", preset, "--residual", residual,
                    *(f"--set={setting}" for setting in settings), "-o", path], check=True)
    return path


def run(build, model, steps, threads, folder):
    """Median wall time of a step and processor seconds per step, the compiler's left out."""
    log = folder / "log.jsonl"
    log.unlink(missing_ok=True)
    command = [build / "bin" / "nagc", "train", model, "--data", FORTUNES, "--steps", steps, "--threads", threads, "--log", log,
               "--val-interval", 0]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed")
    speeds = [record for record in map(json.loads, log.read_text().splitlines()) if "tokens_per_s" in record]
    times = [record["tokens"] / record["step"] / record["tokens_per_s"] for record in speeds][3:]
    return statistics.median(times), usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["tiny", "small"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for name in options.models:
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            files = {kind: model_file(options.build, name, kind, folder) for kind in ("nag", "prenorm")}
            wall, cpu = {"nag": [], "prenorm": []}, {"nag": [], "prenorm": []}
            for _ in range(options.rounds):
                for kind, path in files.items():
                    few = run(options.build, path, 5, options.threads, folder)[1]
                    median, seconds = run(options.build, path, 5 + options.steps, options.threads, folder)
                    wall[kind].append(median)
                    cpu[kind].append((seconds - few) / options.steps)
        times = {kind: statistics.median(values) for kind, values in wall.items()}
        seconds = {kind: statistics.median(values) for kind, values in cpu.items()}
        print(json.dumps({
            "model": name,
            **{f"{kind}_ms": round(1e3 * value, 2) for kind, value in times.items()},
            "ratio": round(times["nag"] / times["prenorm"], 3),
            **{f"{kind}_cpu_ms": round(1e3 * value, 2) for kind, value in seconds.items()},
            "cpu_ratio": round(seconds["nag"] / seconds["prenorm"], 3),
        }), flush=True)


if __name__ == "__main__":
    main()

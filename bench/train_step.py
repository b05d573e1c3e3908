# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training steps per second and peak memory: nagc against JAX (jit), same model, batch and threads, in one run.

Prints one JSON line per preset, then the same as the table of the README. `speed_ratio` above 1 and `memory_ratio` below 1
are in nagc's favour. Memory is the peak resident set of a process that trains, the compiler's (or Python's and XLA's) own
code and data included.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FORTUNES = "/usr/share/games/fortunes"


def peak_rss_mb(command, log):
    """Runs a command and returns the peak resident set of its process in MB."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        log.seek(0)
        sys.exit(f"{' '.join(map(str, command))} failed:\n{log.read()}")
    return usage.ru_maxrss / 1024


def measure_nagc(build, preset, settings, residual, steps, threads):
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile("w+") as output:
        model, metrics = pathlib.Path(scratch, "model.mlir"), pathlib.Path(scratch, "log.jsonl")
        nagc = build / "bin" / "nagc"
        subprocess.run([nagc, "model", "--preset", preset, "--residual", residual,
                        *(f"--set={setting}" for setting in settings), "-o", model], check=True)
        command = [nagc, "train", model, "--data", FORTUNES, "--steps", steps, "--threads", threads, "--log", metrics,
                   "--val-interval", 0]
        memory = peak_rss_mb([str(part) for part in command], output)
        records = [json.loads(line) for line in metrics.read_text().splitlines()]
    speeds = [record["tokens_per_s"] for record in records if "tokens_per_s" in record][3:]
    return {"tokens_per_s": round(statistics.median(speeds)), "peak_rss_mb": round(memory, 1), "steps": len(speeds)}


def measure_jax(preset, settings, seconds, threads):
    command = [sys.executable, "bench/jax_train.py", "measure", preset, "--seconds", str(seconds), "--threads", str(threads),
               *(f"--set={setting}" for setting in settings)]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def print_table(results):
    print("\n| preset | tokens/s, nagc | tokens/s, JAX | ratio | peak memory, nagc | JAX |")
    print("| --- | --- | --- | --- | --- | --- |")
    for r in results:
        print(f"| {r['preset']} | {r['nagc']['tokens_per_s']:,} | {r['jax']['tokens_per_s']:,} | {r['speed_ratio']:.2f} | "
              f"{r['nagc']['peak_rss_mb']:,.0f} MB | {r['jax']['peak_rss_mb']:,.0f} MB |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--presets", nargs="+", default=["tiny", "small"])
    parser.add_argument("--set", action="append", default=[], metavar="key=value",
                        help="of the model, for all presets: --presets small --set layers=12 --set width=512 --set heads=8 --set batch=4")
    parser.add_argument("--residual", choices=["nag", "prenorm"], default="nag")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=8, help="how long JAX is timed")
    options = parser.parse_args()
    results = []
    for preset in options.presets:
        ours = measure_nagc(options.build, preset, options.set, options.residual, options.steps, options.threads)
        jax = measure_jax(preset, options.set, options.seconds, options.threads)
        results.append({
            "preset": " ".join([preset, *options.set]), "nagc": ours,
            "jax": {key: jax[key] for key in ("tokens_per_s", "peak_rss_mb", "steps", "compile_s")},
            "speed_ratio": round(ours["tokens_per_s"] / jax["tokens_per_s"], 3),
            "memory_ratio": round(ours["peak_rss_mb"] / jax["peak_rss_mb"], 3),
        })
        print(json.dumps(results[-1]), flush=True)
    print_table(results)


if __name__ == "__main__":
    main()

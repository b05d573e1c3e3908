# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accuracy-compute curves: loss over skipped tokens of a dense-trained and of a capacity-trained checkpoint.

    python bench/accuracy_compute.py --steps 500 --seeds 0 1 2 --pictures curves

Both models train for the same steps; then every token share of --rates skips, by one threshold for the model, by a
calibrated threshold per sub-layer, by capacity, and at random, as many per sequence as by capacity. The last lines compare
the capacity-trained model under capacity, as it was trained, with its causal form: calibrated thresholds at its own rate.
"""

import argparse
import json
import re
import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path

from iso_flops import FORTUNES, ROOT, nagc


def train(build, folder, name, settings, seed, options):
    run = folder / f"{options.preset}-{name}-{seed}"
    model = run.with_suffix(".mlir")
    nagc(build, "model", "--preset", options.preset, *settings, *options.model, "-o", model)
    if (run / f"step-{options.steps:08}.safetensors").exists():
        return model, run
    nagc(build, "train", model, "--data", options.data, "--steps", options.steps, "--seed", seed, "--threads",
         options.threads, "--val-interval", 0, "--checkpoint-dir", run)
    return model, run


def sweep(build, model, run, rates, options, picture):
    extra = ["--picture", picture] if picture else []
    return json.loads(nagc(build, "eval", model, "--checkpoint", run, "--data", options.data, "--batches",
                           options.batches, "--threads", options.threads, "--json", "--mod-rate",
                           ",".join(map(str, rates)), *extra))


def select_at_random(text):
    """An expanded capacity-routed model whose routes see the sine of 1e4 times the gates: noise, other for each sub-layer."""
    number = 0

    def scramble(match):
        nonlocal number
        number += 1
        indent, results, scores, rest, kind = match.groups()
        value = f"%random{number}"
        return (f"{indent}{value}_scale = arith.constant dense<1.0e4> : {kind}\n"
                f"{indent}{value}_angle = arith.mulf {scores}, {value}_scale : {kind}\n"
                f"{indent}{value} = math.sin {value}_angle : {kind}\n"
                f"{indent}{results} = nag.route {value}{rest}({kind})")

    text = re.sub(r"( +)(%\S+, %\S+) = nag\.route (%\S+)( \{.*\} : )\((tensor<\S+>)\)", scramble, text)
    if not number:
        raise SystemExit("accuracy_compute: the model routes nothing")
    return text


def evaluate_random(build, folder, run, rate, options):
    model = folder / "random.mlir"
    nagc(build, "model", "--preset", options.preset, "--mod-policy", "capacity", "--mod-rate", rate, *options.model, "-o", model)
    expanded = subprocess.run([build / "bin" / "nag-opt", "-nag-expand-blocks", model], check=True, capture_output=True,
                              text=True).stdout
    model.write_text(select_at_random(expanded))
    result = json.loads(nagc(build, "eval", model, "--checkpoint", run, "--data", options.data, "--batches", options.batches,
                             "--threads", options.threads, "--json"))
    return {"mode": "random", "rate": rate, "loss": result["loss"]}


def show(title, points):
    print(title)
    for p in points:
        counts = f", skipped {p['skipped']:.4f}, {p['flops_per_token']:.3e} FLOPs/token" if "skipped" in p else ""
        print(f"  {p['mode']:11} rate {p['rate']:.3f}: {p['loss']:.4f} nats/byte{counts}", flush=True)


def loss_of(points, mode, rate):
    return next(p["loss"] for p in points if p["mode"] == mode and abs(p["rate"] - rate) < 1e-9)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--rate", type=float, default=0.25, help="of the capacity-trained model")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.05, 0.125, 0.25, 0.5])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--data", default=FORTUNES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=Path, help="folder for models and checkpoints; runs that are finished there are not repeated")
    parser.add_argument("--pictures", type=Path, help="folder for one SVG per curve")
    parser.add_argument("model", nargs="*", help="options of nagc model, behind --")
    options = parser.parse_args()
    if options.runs:
        options.runs.mkdir(parents=True, exist_ok=True)
    rates = sorted({*options.rates, options.rate})
    routed = ["--mod-policy", "capacity", "--mod-rate", options.rate]
    for seed in options.seeds:
        with nullcontext(options.runs) if options.runs else tempfile.TemporaryDirectory() as scratch:
            for name, settings in (("dense", []), ("capacity", routed)):
                model, run = train(options.build, Path(scratch), name, settings, seed, options)
                picture = options.pictures and options.pictures / f"{options.preset}-{name}-{seed}.svg"
                points = sweep(options.build, model, run, rates, options, picture)
                points += [evaluate_random(options.build, Path(scratch), run, rate, options) for rate in rates]
                show(f"{options.preset}, trained {name}, seed {seed}", points)
            own, causal = (loss_of(points, mode, options.rate) for mode in ("capacity", "calibrated"))
            print(f"  capacity-trained at {options.rate}: capacity {own:.4f}, calibrated {causal:.4f}, "
                  f"difference {causal / own - 1.0:+.2%}")


if __name__ == "__main__":
    main()

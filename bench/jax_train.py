# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains the JAX peer on Debian's fortunes and prints JSON lines, or measures its train step.

    python bench/jax_train.py train --preset tiny --steps 500
    python bench/jax_train.py measure tiny tiny:scan small
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test" / "Reference"))

import text_data  # noqa: E402
from nag_reference.config import PRESETS, configure, initial_values  # noqa: E402

WARMUP, ALPHA_WARMUP = 40, 50
LEARNING_RATE = {"nag": 3e-3, "prenorm": 1e-3}
DEAD_GATE = 0.05


def use_threads(count):
    """XLA takes as many threads as the process may use processors, so this must come before JAX is loaded."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def learning_rate(step, steps, peak):
    """Linear warm-up, then a cosine down to zero; steps count from 1."""
    if step <= WARMUP:
        return peak * step / WARMUP
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - WARMUP) / max(steps - WARMUP, 1)))


def start(config, seed, scan):
    """Constrained initial parameters and zero moments, float32, on the device."""
    import jax_model
    from jax import numpy as jnp

    params = {name: jnp.asarray(x, jnp.float32) for name, x in initial_values(config, seed).items()}
    params = params if scan else jax_model.unstack(config, params)
    params = jax_model.constrain_all(jax_model.parameter_table(config, scan), params)
    return params, {name: (jnp.zeros_like(x), jnp.zeros_like(x)) for name, x in params.items()}


def validation_loss(config, params, scan, count=20):
    import jax
    import jax_model

    _, text = text_data.load()
    function = jax.jit(lambda p, x, y: jax_model.loss(config, p, x, y, 1.0, scan)[0])
    return float(np.mean([function(params, x, y) for x, y in
                          text_data.fixed_batches(text, config.batch, config.seq, count)]))


def gate_health(gates):
    """Smallest mean |g| of a sub-layer, share of tokens at the floor, number of dead sub-layers."""
    if gates is None:
        return {}
    means = np.abs(np.asarray(gates)).mean(axis=(1, 2))
    return {"smallest_gate": round(float(means.min()), 4), "floor_share": float(np.mean(np.abs(gates) < 1e-5)),
            "dead": int(np.sum(means < DEAD_GATE))}


def train(args):
    import jax_model

    config = configure(args.preset, **dict(args.set))
    peak = args.lr or LEARNING_RATE[config.residual]
    text, _ = text_data.load()
    rng = np.random.default_rng([args.seed, 1])
    params, moments = start(config, args.seed, args.scan)
    step_function = jax_model.compiled_train_step(config, args.scan, weight_decay=args.weight_decay,
                                                  betas=tuple(args.betas))
    begin = time.perf_counter()
    for step in range(1, args.steps + 1):
        tokens, targets = text_data.random_batch(text, config.batch, config.seq, rng)
        params, moments, loss, gates, norm = step_function(
            params, moments, tokens, targets, min(1.0, step / ALPHA_WARMUP), learning_rate(step, args.steps, peak),
            float(step))
        if not math.isfinite(loss):
            raise SystemExit(f"step {step}: expected a finite loss, but got {loss}")
        if step % 100 == 0 or step == args.steps:
            print(json.dumps({"step": step, "loss": round(float(loss), 4), "grad_norm": round(float(norm), 4),
                              **gate_health(gates)}), flush=True)
    print(json.dumps({"val_loss": round(validation_loss(config, params, args.scan), 4),
                      "seconds": round(time.perf_counter() - begin, 1)}))


def peak_bytes():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def timed_steps(step_function, params, moments, batch, seconds):
    """Wall time of each step, for about `seconds`."""
    times = []
    while sum(times) < seconds or len(times) < 3:
        begin = time.perf_counter()
        params, moments, loss, _, _ = step_function(params, moments, *batch, 1.0, 1e-3, 2.0)
        loss.block_until_ready()
        times.append(time.perf_counter() - begin)
    return times


def measure_one(config, scan, seconds):
    """In a process of its own, so that the peak memory is this model's."""
    import jax
    import jax_model

    idle = peak_bytes()
    params, moments = start(config, 0, scan)
    text, _ = text_data.load()
    batch = text_data.random_batch(text, config.batch, config.seq, np.random.default_rng(0))
    begin, begin_cpu = time.perf_counter(), time.process_time()
    step_function = jax_model.compiled_train_step(config, scan).lower(params, moments, *batch, 1.0, 1e-3, 2.0).compile()
    compile_seconds, compile_cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
    times = timed_steps(step_function, params, moments, batch, seconds)
    memory = step_function.memory_analysis()
    return {"jax": jax.__version__, "compile_s": round(compile_seconds, 2),
            "compile_cpu_s": round(compile_cpu_seconds, 2), "steps": len(times),
            "step_ms": round(1e3 * float(np.median(times)), 2), "best_step_ms": round(1e3 * min(times), 2),
            "tokens_per_s": round(config.batch * config.seq / float(np.median(times))),
            "peak_rss_mb": round(peak_bytes() / 1e6, 1), "imported_rss_mb": round(idle / 1e6, 1),
            "xla_temporaries_mb": round(memory.temp_size_in_bytes / 1e6, 1),
            "xla_arguments_mb": round(memory.argument_size_in_bytes / 1e6, 1)}


def measure(args):
    if args.single:
        name, _, form = args.models[0].partition(":")
        config = configure(name, **dict(args.set))
        print(json.dumps({"model": args.models[0], "threads": args.threads}
                         | measure_one(config, form == "scan", args.seconds)))
        return
    for model in args.models:
        command = [sys.executable, __file__, "measure", "--single", model, "--threads", str(args.threads), "--seconds",
                   str(args.seconds), *(f"--set={key}={value}" for key, value in args.set)]
        subprocess.run(command, check=True)


def setting(text):
    key, _, value = text.partition("=")
    if not hasattr(PRESETS["tiny"], key):
        raise argparse.ArgumentTypeError(f"unknown key '{key}'")
    kind = type(getattr(PRESETS["tiny"], key))
    return key, int(value) if kind is type(None) else kind(value)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--threads", type=int, default=2)
    shared.add_argument("--set", action="append", type=setting, default=[], metavar="KEY=VALUE")
    run = commands.add_parser("train", parents=[shared])
    run.add_argument("--preset", choices=PRESETS, default="tiny")
    run.add_argument("--steps", type=int, default=500)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--lr", type=float)
    run.add_argument("--weight-decay", type=float, default=0.0)
    run.add_argument("--betas", type=float, nargs=2, default=(0.9, 0.95))
    run.add_argument("--scan", action="store_true")
    run.set_defaults(function=train)
    timing = commands.add_parser("measure", parents=[shared])
    timing.add_argument("models", nargs="+", help="preset, or preset:scan for a scan over layers")
    timing.add_argument("--seconds", type=float, default=8.0)
    timing.add_argument("--single", action="store_true", help="measure in this process")
    timing.set_defaults(function=measure)
    return parser.parse_args()


if __name__ == "__main__":
    options = arguments()
    use_threads(options.threads)
    options.function(options)

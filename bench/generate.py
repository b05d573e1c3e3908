# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tokens per second with a cache of keys and values against computing the prefix anew for every token.

    PYTHONPATH=build/python .venv/bin/python bench/generate.py [--preset tiny] [--tokens 64] [--threads 2]

Prints processor time too: on a shared machine it says more than the clock.
"""

import argparse
import time

import numpy as np

import nag


def measure(work):
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def recompute(model, weights, prompt, count, threads):
    """The logits of the whole sequence for every token, as `nagc generate --recompute`."""
    program = model.compile(["logits"], threads=threads)
    tokens = np.zeros((1, model.config.seq), np.int32)
    scale = {"gate_scale": 1.0} if model.config.residual == "nag" else {}
    call = program.function("logits").bind(tokens=tokens, **scale, **weights.arguments("logits"))

    def run():
        history = list(prompt)
        for _ in range(count):
            tokens[0, :len(history)] = history
            history.append(int(call()["logits"][0, len(history) - 1, :model.config.vocab].argmax()))
        return history[len(prompt):]

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    model = nag.Model(nag.ModelConfig.preset(options.preset, batch=1, project_std=0.05))
    weights = nag.Trainer(model, seed=1).weights
    prompt = [ord(c) for c in "The meaning of life is"]
    count = min(options.tokens, model.config.seq - len(prompt))
    results = {}

    def cached(batch):
        generator = nag.Generator(model, weights, batch=batch, prompt=len(prompt), threads=options.threads)
        return lambda: results.update({batch: generator.generate([prompt] * batch, tokens=count, temperature=0)})

    rows = [("recompute", recompute(model, weights, prompt, count, options.threads), 1),
            ("cache", cached(1), 1), (f"cache, batch {options.batch}", cached(options.batch), options.batch)]
    rows[0][1]()  # warm
    base = None
    print(f"{options.preset}, {count} tokens behind a prompt of {len(prompt)}, {options.threads} threads")
    print(f"{'':18} {'tokens/s':>10} {'processor ms/token':>20} {'ratio':>7}")
    for name, run, batch in rows:
        clock, processor = min(measure(run) for _ in range(3))
        base = base or processor
        print(f"{name:18} {batch * count / clock:10.0f} {1e3 * processor / (batch * count):20.3f} "
              f"{base * batch / processor:7.1f}")
    assert results[1][0] == rows[0][1](), "the two paths chose different tokens"


if __name__ == "__main__":
    main()

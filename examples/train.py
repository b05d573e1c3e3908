# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A training loop of one's own: batches from a text, steps, a look at the gates, a sample.

    python examples/train.py TEXT [STEPS]
"""

import sys

import numpy as np

import nag


def batches(text, batch, seq, seed=0):
    """Random windows of a text as tokens and targets."""
    rng, data = np.random.default_rng(seed), np.frombuffer(text, np.uint8).astype(np.int32)
    while True:
        starts = rng.integers(0, len(data) - seq - 1, batch)
        windows = np.stack([data[s:s + seq + 1] for s in starts])
        yield np.ascontiguousarray(windows[:, :-1]), np.ascontiguousarray(windows[:, 1:])


def main(path, steps):
    config = nag.ModelConfig.preset("tiny", layers=2, seq=64, batch=8)
    trainer = nag.Trainer(nag.Model(config), seed=0, warmup=10, alpha_warmup=10)
    with open(path, "rb") as file:
        data = batches(file.read(), config.batch, config.seq)
    for _ in range(steps):
        step = trainer.step(*next(data))
        if step.step % 10 == 0 or step.step == steps:
            print(f"step {step.step}: loss {step.loss:.3f}, mean |gate| per sub-layer "
                  f"{np.abs(trainer.gates).mean((1, 2)).round(3)}")
    generator = nag.Generator(trainer.model, trainer.weights)
    print("The " + bytes(generator.generate("The ", tokens=60, temperature=0.8)[0]).decode(errors="replace"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100)

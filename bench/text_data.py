# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Debian's fortunes as bytes, split into training and validation text, and batches of them."""

from pathlib import Path

import numpy as np

FORTUNES = Path("/usr/share/games/fortunes")
VALIDATION_SHARE = 0.05


def text_files(folder):
    """Plain files, sorted; .dat are indexes and symbolic links repeat their targets."""
    files = [p for p in sorted(Path(folder).rglob("*")) if p.is_file() and not p.is_symlink() and p.suffix != ".dat"]
    if not files:
        raise SystemExit(f"{folder}: expected text files, but found none")
    return files


def load(folder=FORTUNES):
    """Training and validation bytes: the last part of every file is validation text."""
    train, validation = [], []
    for path in text_files(folder):
        text = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        cut = len(text) - int(len(text) * VALIDATION_SHARE)
        train.append(text[:cut])
        validation.append(text[cut:])
    return np.concatenate(train), np.concatenate(validation)


def windows(text, starts, length):
    rows = text[np.asarray(starts)[:, None] + np.arange(length + 1)].astype(np.int32)
    return rows[:, :-1], rows[:, 1:]


def random_batch(text, batch, length, rng):
    """Tokens and the tokens that follow them, [batch, length] each."""
    return windows(text, rng.integers(0, len(text) - length, batch), length)


def fixed_batches(text, batch, length, count):
    """The same evenly spaced windows every time."""
    starts = np.linspace(0, len(text) - length - 1, batch * count).astype(np.int64)
    return [windows(text, starts[i::count], length) for i in range(count)]

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Triton's PTX for triton_kernels.py on the machine, against numpy; no finding allowed.

    python triton_run.py FOLDER         # of NAME.ptx
"""

import sys
from pathlib import Path

import numpy as np

from harness import launch

i32, u32, f32, f64 = np.int32, np.uint32, np.float32, np.float64
FOLDER = Path(sys.argv[1])
rng = np.random.default_rng(11)
# Triton appends two pointers to every kernel, of scratch memory that these kernels do not use.
SCRATCH = [np.uint64(0), np.uint64(0)]


def run(name, grid, args, shared=0, threads=128):
    entry = name.split("_")[0] if name.startswith("matmul") else name
    result = launch(str(FOLDER / f"{name}.ptx"), entry, grid, [threads], [*args, *SCRATCH], shared=shared)
    findings = [f["kind"] + " line %d: " % f["line"] + f["message"] for f in result["findings"]]
    assert result["exit"] == 0, (name, result["message"], findings)
    return result


def close(got, want, tolerance):
    error = np.max(np.abs(got - want)) / np.max(np.abs(want))
    assert error <= tolerance, error


def to_bf16(x):
    bits = x.astype(f32).view(u32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(u32) << 16).view(f32)


def add():
    x, y = rng.standard_normal((2, 1000), f32)
    out = np.zeros(1000, f32)
    run("add", [4], [x, y, out, i32(1000)])
    assert (out == x + y).all()


def softmax():
    x, out = rng.standard_normal((3, 77), f32), np.zeros((3, 77), f32)
    run("softmax", [3], [x, out, i32(77)], shared=16)
    e = np.exp(x - x.max(1, keepdims=True))
    close(out, e / e.sum(1, keepdims=True), 1e-6)


def rms_norm():
    x, out = to_bf16(rng.standard_normal((5, 333))), np.zeros((5, 333), np.uint16)
    run("rms_norm", [5], [x, out, i32(333)], shared=16)
    wide = from_bf16(x).astype(f64)
    close(from_bf16(out), wide / np.sqrt((wide ** 2).mean(1, keepdims=True) + 1e-6), 2.0 ** -8)


def running_sum():
    x, out = rng.standard_normal(1024, f32), np.zeros(1024, f32)
    run("running_sum", [1], [x, out], shared=32)
    close(out, np.cumsum(x.astype(f64)), 1e-6)


def histogram():
    x, bins = rng.integers(0, 61, 1001).astype(i32), np.zeros(61, i32)
    run("histogram", [4], [x, bins, i32(1001)], shared=2048)
    assert (bins == np.bincount(x, minlength=61)).all()


def matmul(name, a, b, c, values, shared, tile, tolerance, product):
    (m, k), n = a.shape, b.shape[1]
    result = run(name, [-(-m // tile[0]), -(-n // tile[1])], [a, b, c, i32(m), i32(n), i32(k)], shared=shared)
    assert result["counters"]["tensor_flops"] >= 2 * m * n * k
    close(c, product(values(a), values(b)), tolerance)


def matmul_bf16():
    a, b = to_bf16(rng.standard_normal((97, 136))), to_bf16(rng.standard_normal((136, 72)))
    matmul("matmul_bf16", a, b, np.zeros((97, 72), f32), from_bf16, 16384, (64, 64), 1e-6, np.matmul)


def matmul_f16():
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((33, 80), (80, 40)))
    matmul("matmul_f16", a, b, np.zeros((33, 40), f32), lambda x: x.astype(f64), 4096, (32, 32), 1e-6, np.matmul)


def matmul_tf32():
    a, b = (rng.standard_normal(s).astype(f32) for s in ((45, 100), (100, 68)))
    # tf32 keeps 10 bits of the fraction, and the hardware drops the rest of what it is given
    chop = lambda x: (x.view(u32) & 0xFFFFE000).view(f32).astype(f64)
    matmul("matmul_tf32", a, b, np.zeros((45, 68), f32), chop, 24576, (32, 64), 1e-5, np.matmul)


def matmul_s8():
    a, b = rng.integers(-128, 128, (50, 144)).astype(np.int8), rng.integers(-128, 128, (144, 48)).astype(np.int8)
    matmul("matmul_s8", a, b, np.zeros((50, 48), i32), lambda x: x.astype(i32), 4096, (32, 32), 0, np.matmul)


def attention():
    T, D = 75, 64
    q, k, v = (to_bf16(rng.standard_normal((2, T, D))) for _ in range(3))
    out = np.zeros((2, T, D), np.uint16)
    run("attention", [-(-T // 32), 2], [q, k, v, out, i32(T), f32(D ** -0.5)], shared=14336)
    score = from_bf16(q).astype(f64) @ from_bf16(k).transpose(0, 2, 1) * D ** -0.5
    power = np.exp(score) * np.tri(T)
    want = power @ from_bf16(v) / power.sum(-1, keepdims=True)
    # the probabilities and the result are rounded to bf16
    close(from_bf16(out), want, 2.0 ** -7)


for test in (add, softmax, rms_norm, running_sum, histogram, matmul_bf16, matmul_f16, matmul_tf32, matmul_s8, attention):
    test()
    print("ok", test.__name__)

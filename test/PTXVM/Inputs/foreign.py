# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nvcc's PTX for kernels.cu on the machine, against numpy; no finding allowed."""

import sys

import numpy as np

from harness import launch

i32, u32, f32 = np.int32, np.uint32, np.float32
PTX = sys.argv[1]
rng = np.random.default_rng(7)


def run(entry, grid, block, args, **options):
    result = launch(PTX, entry, grid, block, args, **options)
    findings = [f["kind"] + " line %d: " % f["line"] + f["message"] for f in result["findings"]]
    assert result["exit"] == 0, (entry, result["message"], findings)
    return result


def close(got, want, tolerance=1e-6):
    error = np.max(np.abs(got - want) / np.maximum(np.abs(want), 1))
    assert error <= tolerance, error


def saxpy():
    x, y = rng.standard_normal((2, 1000), f32)
    want = f32(2) * x + y
    run("saxpy", [8], [128], [i32(1000), f32(2), x, y])
    close(y, want)


def reduce_sum():
    x, out = rng.standard_normal(5000, f32), np.zeros(4, f32)
    run("reduceSum", [4], [256], [x, out, i32(5000)])
    close(out.sum(), x.sum(dtype=np.float64), 1e-4)


def scan():
    x = rng.integers(-9, 9, 512).astype(i32)
    y = np.zeros_like(x)
    run("scan", [2], [256], [x, y])
    assert (y == np.cumsum(x.reshape(2, 256), 1).reshape(-1)).all()


def transpose():
    x, y = rng.standard_normal((70, 45), f32), np.zeros((45, 70), f32)
    run("transpose", [2, 3], [32, 8], [x, y, i32(70), i32(45)])
    assert (y == x.T).all()


def histogram():
    x, bins = rng.integers(0, 256, 3001).astype(np.uint8), np.zeros(256, u32)
    run("histogram", [3], [256], [x, bins, i32(3001)])
    assert (bins == np.bincount(x, minlength=256)).all()


def tiled_gemm():
    a, b = rng.standard_normal((2, 48, 48), f32)
    c = np.zeros((48, 48), f32)
    run("tiledGemm", [3, 3], [16, 16], [a, b, c, i32(48)])
    close(c, a @ b, 1e-5)


def tensor_gemm():
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((32, 64), (24, 64)))
    c = np.zeros((32, 24), f32)
    result = run("tensorGemm", [3, 2], [32], [a, b, c, i32(24), i32(64)])
    close(c, a.astype(f32) @ b.astype(f32).T, 1e-4)
    assert result["counters"]["tensor_flops"] == 2 * 32 * 24 * 64


def bf16_mma():
    a, b = (rng.standard_normal(s).astype(f32).view(u32) & 0xFFFF0000 for s in ((16, 16), (8, 16)))
    pack = lambda m: ((m[:, 1::2]) | (m[:, 0::2] >> 16)).astype(u32)
    c = np.zeros((16, 8), f32)
    run("bf16Mma", [1], [32], [pack(a), pack(b), c])
    close(c, a.view(f32) @ b.view(f32).T, 1e-5)


def softmax():
    x, y = rng.standard_normal((3, 77), f32), np.zeros((3, 77), f32)
    run("softmax", [3], [32], [x, y, i32(77)])
    e = np.exp(x - x.max(1, keepdims=True))
    close(y, e / e.sum(1, keepdims=True), 1e-6)


def collatz():
    x = np.arange(1, 201).astype(u32)
    steps = np.zeros_like(x)

    def count(v):
        n = 0
        while v != 1:
            v, n = (v // 2 if v % 2 == 0 else 3 * v + 1), n + 1
        return n
    run("collatz", [2], [128], [x, steps, i32(200)])
    assert (steps == [count(int(v)) for v in x]).all()


def recursive():
    out = np.zeros(16, i32)
    run("recursive", [1], [16], [out])
    assert list(out[:10]) == [0, 1, 1, 2, 3, 5, 8, 13, 21, 34] and out[15] == 610


def pipeline():
    x, out = rng.standard_normal((5, 64, 4), f32), np.zeros(64, f32)
    run("pipeline", [1], [64], [x, out, i32(5)])
    close(out, x.sum((0, 2))[::-1], 1e-5)


def spin_lock():
    counter = np.zeros(1, i32)
    run("spinLock", [4], [64], [counter])
    assert counter[0] == 256


def votes():
    x, out = rng.integers(0, 9, 32).astype(i32), np.zeros(128, u32)
    run("votes", [1], [32], [x, out])
    ballot = sum(1 << k for k in range(32) if x[k] & 1)
    assert (out[:32] == ballot).all()
    assert all(out[32 + k] == sum(1 << j for j in range(32) if x[j] % 4 == x[k] % 4) for k in range(32))
    assert (out[64:96] == x.sum()).all() and (out[96:] == 1 + 2 * int((x == 5).any())).all()


def halves():
    x, y = rng.standard_normal((2, 64)).astype(np.float16)
    z, u = np.zeros(64, np.float16), rng.standard_normal(64).astype(f32).view(u32) >> 16
    u, w = u.astype(np.uint16), np.full(64, 0x3F80, np.uint16)
    run("halves", [1], [32], [x, y, z, u, w])
    total = (x + y).astype(np.float64)
    assert (z == (x.astype(np.float64) * y + total).astype(np.float16)).all()
    wide = (u.astype(u32) << 16).view(f32)
    product = (wide * np.maximum(wide, 1)).view(u32)
    assert (w == (product + 0x7FFF + (product >> 16 & 1)) >> 16).all()


def hello():
    result = run("hello", [1], [4], [i32(2)])
    assert result["output"] == "thread 0 of 4: 0.00 ok\nthread 1 of 4: 0.50 ok\n", result["output"]


for test in (saxpy, reduce_sum, scan, transpose, histogram, tiled_gemm, tensor_gemm, bf16_mma,
             softmax, collatz, recursive, pipeline, spin_lock, votes, halves, hello):
    test()
    print("ok", test.__name__)

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Triton kernels for the PTX machine; run as a program, it compiles them for sm_80 and writes FOLDER/NAME.ptx.

    pip install triton                            # 3.9; needs no GPU
    python triton_kernels.py FOLDER               # triton_run.py runs what it writes
    python triton_kernels.py --plain triton       # without debug information: the files beside this one
"""

import sys
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at, mask=at < n) + tl.load(y + at, mask=at < n), mask=at < n)


@triton.jit
def softmax(x, out, width, BLOCK: tl.constexpr):
    column = tl.arange(0, BLOCK)
    row = tl.program_id(0) * width
    value = tl.load(x + row + column, mask=column < width, other=-float("inf"))
    power = tl.exp(value - tl.max(value, axis=0))
    tl.store(out + row + column, power / tl.sum(power, axis=0), mask=column < width)


@triton.jit
def rms_norm(x, out, width, BLOCK: tl.constexpr):
    """bf16 rows, summed in f32."""
    column = tl.arange(0, BLOCK)
    row = tl.program_id(0) * width
    value = tl.load(x + row + column, mask=column < width, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value, axis=0) / width + 1e-6)
    tl.store(out + row + column, (value * scale).to(tl.bfloat16), mask=column < width)


@triton.jit
def running_sum(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.cumsum(tl.load(x + at), axis=0))


@triton.jit
def histogram(x, bins, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(bins + tl.load(x + at, mask=at < n, other=0), 1, mask=at < n, sem="relaxed")


@triton.jit
def matmul(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """c = a b of row-major matrices: f32 sums of bf16, f16, tf32 or int8 products."""
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.program_id(1) * BN + tl.arange(0, BN)
    depth = tl.arange(0, BK)
    integers: tl.constexpr = a.dtype.element_ty == tl.int8
    total = tl.zeros((BM, BN), dtype=tl.int32 if integers else tl.float32)
    for k in range(0, K, BK):
        left = tl.load(a + rows[:, None] * K + (k + depth)[None, :],
                       mask=(rows[:, None] < M) & ((k + depth)[None, :] < K), other=0)
        right = tl.load(b + (k + depth)[:, None] * N + columns[None, :],
                        mask=((k + depth)[:, None] < K) & (columns[None, :] < N), other=0)
        total = tl.dot(left, right, total)
    tl.store(c + rows[:, None] * N + columns[None, :], total, mask=(rows[:, None] < M) & (columns[None, :] < N))


@triton.jit
def attention(q, k, v, out, T, scale, BLOCK: tl.constexpr, D: tl.constexpr):
    """Causal attention of one head per program_id(1), with the softmax computed as keys stream by."""
    head = tl.program_id(1) * T * D
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, D)
    q_tile = tl.load(q + head + query[:, None] * D + column[None, :], mask=query[:, None] < T, other=0.0)
    largest = tl.full((BLOCK,), -float("inf"), tl.float32)
    weight = tl.zeros((BLOCK,), tl.float32)
    total = tl.zeros((BLOCK, D), tl.float32)
    for start in range(0, (tl.program_id(0) + 1) * BLOCK, BLOCK):
        key = start + tl.arange(0, BLOCK)
        k_tile = tl.load(k + head + key[None, :] * D + column[:, None], mask=key[None, :] < T, other=0.0)
        v_tile = tl.load(v + head + key[:, None] * D + column[None, :], mask=key[:, None] < T, other=0.0)
        score = tl.dot(q_tile, k_tile) * scale
        score = tl.where((key[None, :] <= query[:, None]) & (key[None, :] < T), score, -float("inf"))
        now = tl.maximum(largest, tl.max(score, axis=1))
        power = tl.exp(score - now[:, None])
        shrink = tl.exp(largest - now)
        weight = weight * shrink + tl.sum(power, axis=1)
        total = tl.dot(power.to(v_tile.dtype), v_tile, total * shrink[:, None])
        largest = now
    tl.store(out + head + query[:, None] * D + column[None, :], (total / weight[:, None]).to(out.dtype.element_ty),
             mask=query[:, None] < T)


VARIANTS = {
    "add": (add, dict(x="*fp32", y="*fp32", out="*fp32", n="i32"), dict(BLOCK=256), {}),
    "softmax": (softmax, dict(x="*fp32", out="*fp32", width="i32"), dict(BLOCK=128), {}),
    "rms_norm": (rms_norm, dict(x="*bf16", out="*bf16", width="i32"), dict(BLOCK=512), {}),
    "running_sum": (running_sum, dict(x="*fp32", out="*fp32"), dict(BLOCK=1024), {}),
    "histogram": (histogram, dict(x="*i32", bins="*i32", n="i32"), dict(BLOCK=256), {}),
    "matmul_bf16": (matmul, dict(a="*bf16", b="*bf16", c="*fp32", M="i32", N="i32", K="i32"),
                    dict(BM=64, BN=64, BK=32), dict(num_stages=3)),
    "matmul_f16": (matmul, dict(a="*fp16", b="*fp16", c="*fp32", M="i32", N="i32", K="i32"),
                   dict(BM=32, BN=32, BK=32), dict(num_stages=2)),
    "matmul_tf32": (matmul, dict(a="*fp32", b="*fp32", c="*fp32", M="i32", N="i32", K="i32"),
                    dict(BM=32, BN=64, BK=32), dict(num_stages=3)),
    "matmul_s8": (matmul, dict(a="*i8", b="*i8", c="*i32", M="i32", N="i32", K="i32"),
                  dict(BM=32, BN=32, BK=64), dict(num_stages=2)),
    "attention": (attention, dict(q="*bf16", k="*bf16", v="*bf16", out="*bf16", T="i32", scale="fp32"),
                  dict(BLOCK=32, D=64), dict(num_stages=2)),
}


def without_debug_information(ptx):
    code = ptx[:ptx.index("\t.file\t")]
    lines = (line.split("//")[0].rstrip() for line in code.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(("\t.loc", "$L__tmp"))) + "\n"


def compile_kernels(folder, plain):
    Path(folder).mkdir(exist_ok=True)
    for name, (function, signature, constants, options) in VARIANTS.items():
        arguments = signature | {key: "constexpr" for key in constants}
        pointers = {(index,): [["tt.divisibility", 16]] for index, kind in enumerate(signature.values()) if kind[0] == "*"}
        source = triton.compiler.ASTSource(function, arguments, constexprs=constants, attrs=pointers)
        compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
        text = compiled.asm["ptx"]
        Path(folder, name + ".ptx").write_text(without_debug_information(text) if plain else text)


if __name__ == "__main__":
    compile_kernels(sys.argv[-1], "--plain" in sys.argv)

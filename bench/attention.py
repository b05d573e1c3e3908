# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention and its VJP, compiled by nagc, against JAX's on the CPU, in one run: GFLOP/s and their ratio.

    python bench/attention.py [--threads 2] [--seconds 1]

GFLOP/s count the visible half of the T x T scores alone (4 hd forward, 10 hd backward per score) on both sides, so that
they compare times. JAX computes softmax(q k^T) v with a causal mask under jit; "gradient" is forward and backward on
both sides, as jax.grad runs both.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test" / "Python"))

SIZES = [(16, 4, 128, 32), (16, 8, 256, 32), (1, 8, 2048, 64)]
TOLERANCE = 2e-5


def module(batch, heads, length, head_dim):
    rows, lse = f"tensor<{batch}x{length}x{heads * head_dim}xf32>", f"tensor<{batch}x{heads}x{length}xf32>"
    attributes = f"{{heads = {heads}, kv_heads = {heads}}}"
    names = "q", "k", "v", "o", "lse", "do"
    arguments = ", ".join(f'%{n}: {lse if n == "lse" else rows} {{nag.name = "{n}"}}' for n in names)
    forward = ", ".join(f'%{n}: {rows} {{nag.name = "{n}"}}' for n in names[:3])
    return f"""
func.func @forward({forward}) -> ({rows} {{nag.name = "o"}}, {lse} {{nag.name = "lse"}}) {{
  %o, %lse = nag.attention %q, %k, %v {attributes} : ({rows}, {rows}, {rows}) -> ({rows}, {lse})
  return %o, %lse : {rows}, {lse}
}}
func.func @backward({arguments}) -> ({rows} {{nag.name = "dq"}}, {rows} {{nag.name = "dk"}}, {rows} {{nag.name = "dv"}}) {{
  %dq, %dk, %dv = nag.attention_vjp %q, %k, %v, %o, %lse, %do {attributes}
      : ({rows}, {rows}, {rows}, {rows}, {lse}, {rows}) -> ({rows}, {rows}, {rows})
  return %dq, %dk, %dv : {rows}, {rows}, {rows}
}}
"""


def jax_functions(heads, head_dim):
    import jax
    from jax import numpy as jnp

    def attention(q, k, v):
        def split(x):
            return x.reshape(*x.shape[:2], heads, head_dim)

        scores = jnp.einsum("bthd,bshd->bhts", split(q), split(k)) / np.sqrt(head_dim)
        length = q.shape[1]
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
        return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores, axis=-1), split(v)).reshape(q.shape)

    def gradient(q, k, v, do):
        return jax.grad(lambda *x: jnp.vdot(attention(*x), do), argnums=(0, 1, 2))(q, k, v)

    return jax.jit(attention), jax.jit(gradient)


def best_time(function, seconds):
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


class Call:
    """One function of a program on fixed buffers, so that a run copies nothing."""

    def __init__(self, program, name, inputs):
        self.program, self.name = program, name
        arguments = program.arguments(name)
        self.buffers = {a.name: a.buffer(inputs.get(a.name)) for a in arguments}
        self.addresses = [self.buffers[a.name].address for a in arguments]
        self.results = {a.name: self.buffers[a.name].array(a.dtype, a.shape) for a in arguments if a.written}

    def __call__(self):
        self.program.invoke(self.name, self.addresses)


def require_equal(name, actual, expected):
    expected = np.asarray(expected)
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    if not error < TOLERANCE:
        sys.exit(f"{name}: expected a relative error below {TOLERANCE}, but got {error}")


def measure(size, seconds, folder):
    from harness import compile_text

    batch, heads, length, head_dim = size
    generator = np.random.default_rng(0)
    q, k, v, do = (generator.standard_normal((batch, length, heads * head_dim), np.float32) for _ in range(4))
    program = compile_text(module(*size), folder)
    forward = Call(program, "forward", dict(q=q, k=k, v=v))
    forward()
    backward = Call(program, "backward", dict(q=q, k=k, v=v, do=do, **forward.results))
    backward()
    attention, gradient = jax_functions(heads, head_dim)
    require_equal("o", forward.results["o"], attention(q, k, v))
    for name, expected in zip(("dq", "dk", "dv"), gradient(q, k, v, do)):
        require_equal(name, backward.results[name], expected)
    scores = batch * heads * length * (length + 1) / 2
    peers = (("forward", 4, forward, lambda: attention(q, k, v).block_until_ready()),
             ("gradient", 14, lambda: (forward(), backward()), lambda: [x.block_until_ready() for x in gradient(q, k, v, do)]))
    for name, flops, ours, theirs in peers:
        work = scores * flops * head_dim / 1e9
        mine, peer = work / best_time(ours, seconds), work / best_time(theirs, seconds)
        print(f"B{batch} H{heads} T{length} hd{head_dim} {name}  nag {mine:6.1f} GFLOP/s  JAX {peer:6.1f} GFLOP/s  "
              f"ratio {mine / peer:5.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="time per measurement")
    options = parser.parse_args()
    if options.threads < 1 or options.seconds <= 0:
        parser.error("expected a positive number of threads and of seconds")
    # JAX takes as many threads as the process may use processors.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.threads])
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            measure(size, options.seconds, folder)


if __name__ == "__main__":
    main()

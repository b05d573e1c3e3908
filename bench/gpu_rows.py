# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times of row-wise kernels on a GPU: the update, the boundary between sub-layers and their VJPs in bf16, against torch.compile.

    python bench/gpu_rows.py [--rows 65536] [--width 1024 4096] [--device 0]

Per kernel: microseconds, the gigabytes per second that the bytes it must move come to, and that over what a copy within the
device reaches; torch.compile's microseconds for the same formulas, and `ratio`, which above 1 is in nagc's favour. The cases are
those of bench/traffic.py. Needs a torch that sees the GPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import torch  # noqa: E402
import traffic  # noqa: E402
from torch.nn import functional as F  # noqa: E402

EPS = 2.0**-23


def rms_norm(x):
    return F.rms_norm(x, x.shape[-1:], eps=EPS)


def rotate(r, s, f, g):
    r, f = r.float(), f.float()
    c = f - f.mean(-1, keepdim=True)
    k = (c * r).sum(-1, keepdim=True) / (r * r).sum(-1, keepdim=True)
    return rms_norm(r + g.unsqueeze(-1) * rms_norm(c - k * r)).bfloat16(), s + 0.5 * torch.log1p(g * g)


def boundary(r, s, f, z, b, p, beta, alpha):
    q = (torch.sigmoid(z.float() + b) @ p.softmax(0)).clamp_min(1e-6)
    return rotate(r, s, f, alpha * q ** F.softplus(beta))


def add_norm(x, f):
    y = x + f
    return y, rms_norm(y.float()).bfloat16()


def make_inputs(kinds, rows, width):
    shapes = {"row": (rows, width), "lane": (rows,), "gates": (rows, 32), "vector": (32,), "scalar": ()}
    types = {"row": torch.bfloat16, "gates": torch.bfloat16}
    return [torch.randn(shapes[kind], device="cuda").to(types.get(kind, torch.float32)) for kind in kinds]


ROTATE = ("row", "lane", "row", "lane")
BOUNDARY = ("row", "lane", "row", "gates", "vector", "vector", "scalar", "scalar")
CASES = {  # ours; theirs, its inputs, and whether its VJP is meant
    "rotate": (traffic.rotate, rotate, ROTATE, False),
    "rotate VJP": (traffic.rotate_vjp, rotate, ROTATE, True),
    "boundary VJP": (traffic.boundary_vjp, boundary, BOUNDARY, True),
    "add+norm": (traffic.add_norm, add_norm, ("row", "row"), False),
    "add+norm VJP": (traffic.add_norm_vjp, add_norm, ("row", "row"), True),
}


def time_ours(options, text):
    """Seconds of the function's kernels."""
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder, "module.mlir")
        module.write_text(text)
        command = [options.build / "bin" / "nagc", "profile", module, "--device", options.device, "--chip", options.chip, "--json"]
        done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)["totals"]["seconds"]


def time_calls(call):
    """The median of some calls, by events."""
    times = []
    for _ in range(25):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(1e-3 * start.elapsed_time(end))
    return statistics.median(times[5:])


def time_theirs(function, kinds, is_vjp, rows, width):
    inputs = make_inputs(kinds, rows, width)
    compiled = torch.compile(function, dynamic=False)
    if not is_vjp:
        return time_calls(lambda: compiled(*inputs))
    inputs = [x.requires_grad_() for x in inputs]
    results = compiled(*inputs)
    cotangents = [torch.randn_like(x) for x in results]
    return time_calls(lambda: torch.autograd.grad(results, inputs, cotangents, retain_graph=True))


def copy_rate():
    source = torch.empty(2**31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / time_calls(lambda: target.copy_(source))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--rows", type=int, default=65536)
    parser.add_argument("--width", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--device", default="0", help="number of the GPU")
    parser.add_argument("--chip", default="sm_90a", choices=["sm_80", "sm_90a"])
    options = parser.parse_args()
    torch.cuda.set_device(int(options.device))
    traffic.normal = lambda shape, dtype="bf16": None  # only texts and bytes are wanted
    most = copy_rate()
    print(f"{torch.cuda.get_device_name()}: copy {most / 1e9:.0f} GB/s", flush=True)
    for width in options.width:
        for name, (ours, theirs, kinds, is_vjp) in CASES.items():
            text, _, row_bytes = ours(options.rows, width)
            seconds = time_ours(options, text)
            other = time_theirs(theirs, kinds, is_vjp, options.rows, width)
            rate = row_bytes / seconds
            print(f"{name:14} d={width:<6} {1e6 * seconds:8.1f} us {rate / 1e9:6.0f} GB/s {rate / most:5.2f} of a copy; "
                  f"torch.compile {1e6 * other:8.1f} us, ratio {other / seconds:.2f}", flush=True)


if __name__ == "__main__":
    main()

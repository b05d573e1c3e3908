# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Memory of the head and its loss, with the N x V logits and without.

Compiles head, loss and their gradients alone (V = 32768, N = 8192 rows of 256 by default) both ways and prints one JSON line: the bytes of
workspace that the memory plan gives each (logits and what is made of them; parameters, gradients and rows are the caller's), their ratio
(bar: 0.1) and, with --run, the peak resident set and the time of one call of each.
"""

import argparse
import ctypes
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "Python"))

MODULE = """
func.func @head(%x: tensor<1xNxDxf32> {{nag.name = "x"}}, %s: tensor<1xNxf32> {{nag.name = "s"}},
    %w: tensor<VxDxf32> {{nag.name = "w"}},
    %targets: tensor<1xNxi32> {{nag.name = "targets"}}) -> (tensor<f32> {{nag.name = "loss"}}) {{
  %z = nag.linear %x, %w : (tensor<1xNxDxf32>, tensor<VxDxf32>) -> tensor<1xNxVxf32>
  %t = nag.temper %z, %s {{factor = {factor}}} : (tensor<1xNxVxf32>, tensor<1xNxf32>) -> tensor<1xNxVxf32>
  %loss = nag.cross_entropy %t, %targets {{vocab = {vocab}}} : (tensor<1xNxVxf32>, tensor<1xNxi32>) -> tensor<f32>
  return %loss : tensor<f32>
}}
"""
FUNCTION = "head.gradients"


def module_text(rows, vocab, width):
    text = MODULE.format(factor=1.0 / width, vocab=vocab - 5)
    for letter, number in (("N", rows), ("V", vocab), ("D", width)):
        text = text.replace(f"x{letter}x", f"x{number}x").replace(f"<{letter}x", f"<{number}x")
    return text


def compile_head(build, text, folder, target, options):
    (folder / "head.mlir").write_text(text)
    subprocess.run([build / "bin" / "nagc", "compile", folder / "head.mlir", "--target", target, "--differentiate", "head",
                    "-o", folder, *options], check=True)
    functions = json.loads((folder / "manifest.json").read_text())["functions"]
    return next(f["workspace_bytes"] for f in functions if f["name"] == FUNCTION)


def call_once(folder):
    """In a process of its own: peak memory and time of one call."""
    import numpy as np

    import harness

    program = harness.link(folder)
    rng = np.random.default_rng(0)
    buffers = []
    for argument in program.arguments(FUNCTION):
        value = rng.integers(0, 100, argument.shape) if argument.dtype == np.int32 else rng.standard_normal(argument.shape, np.float32)
        buffers.append(argument.buffer(value if argument.read else None))
    entry = program.function(FUNCTION)
    workspace = np.empty(entry["workspace_bytes"] + 64, np.uint8)
    symbol = getattr(program.library, entry["symbol"])
    symbol.argtypes, symbol.restype = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p], None
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    symbol((ctypes.c_void_p * len(buffers))(*[b.address for b in buffers]), workspace.ctypes.data + -workspace.ctypes.data % 64)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"grown_mb": round((peak - idle) / 1024, 1), "seconds": round(seconds, 2)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--vocab", type=int, default=32768)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--target", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--run", action="store_true")
    parser.add_argument("--call", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        call_once(options.call)
        return
    result = {"rows": options.rows, "vocab": options.vocab, "width": options.width}
    text = module_text(options.rows, options.vocab, options.width)
    with tempfile.TemporaryDirectory() as scratch:
        for name, flags in (("materialised", ["--fuse=false"]), ("chunked", [])):
            folder = pathlib.Path(scratch, name)
            folder.mkdir()
            result[f"{name}_mb"] = round(compile_head(options.build, text, folder, options.target, flags) / 2**20, 1)
            if options.run:
                output = subprocess.run([sys.executable, __file__, "--build", options.build, "--call", folder], check=True,
                                        capture_output=True, text=True).stdout
                result[f"{name}_call"] = json.loads(output)
    result["ratio"] = round(result["chunked_mb"] / result["materialised_mb"], 4)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

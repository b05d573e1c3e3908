# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls functions of a module on the PTX machine: nagc run with target cuda and device vm.

    outcome = call(build, text, [("f", {"x": x})], folder)
    outcome.results[0]["y"]

Arguments and results go by their `nag.name`. A finding of the machine is an error.
"""

import json
import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

DTYPES = {"F64": np.float64, "F32": np.float32, "BF16": ml_dtypes.bfloat16, "I32": np.int32}


def save(path, tensors):
    """Writes a .safetensors file."""
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    header, data, end = {}, [], 0
    for name, array in tensors.items():
        data.append(np.ascontiguousarray(array).tobytes())
        begin, end = end, end + len(data[-1])
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def load(path):
    raw = Path(path).read_bytes()
    size, = struct.unpack_from("<Q", raw)
    data = raw[8 + size:]
    entries = json.loads(raw[8:8 + size])
    entries.pop("__metadata__", None)
    return {name: np.frombuffer(data[slice(*e["data_offsets"])], DTYPES[e["dtype"]]).reshape(e["shape"])
            for name, e in entries.items()}


@dataclass
class Outcome:
    results: list  # of each call: arrays by name
    counters: dict  # by device function, where they were asked for


def call(build, text, calls, folder, chip="sm_80", counters=False, checks="all", options=()):
    """Compiles `text` once and makes the calls, pairs of a function and its arguments, in order; `options` are nagc run's."""
    folder = Path(folder)
    module = folder / "module.mlir"
    module.write_text(text)
    command = [build / "bin" / "nagc", "run", module, "--target", "cuda", "--device", "vm", "--chip", chip,
               *options]
    for number, (function, arguments) in enumerate(calls):
        save(folder / f"{number}.in.safetensors", arguments)
        command += ["--call", f"{function}:{folder}/{number}.in.safetensors:{folder}/{number}.out.safetensors"]
    findings, counts = folder / "findings.jsonl", folder / "counters.jsonl"
    environment = dict(os.environ, NAG_PTXVM_CHECKS=checks, NAG_PTXVM_FINDINGS=str(findings))
    if counters:
        environment["NAG_PTXVM_COUNTERS"] = str(counts)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"nagc run exited with {done.returncode}: {done.stderr.strip()[:2000]}")
    if findings.exists() and findings.read_text():
        raise RuntimeError(f"the PTX machine found: {findings.read_text()[:2000]}")
    lines = [json.loads(line) for line in counts.read_text().splitlines()] if counters else []
    return Outcome([load(folder / f"{number}.out.safetensors") for number in range(len(calls))],
                   {line["kernel"]: line for line in lines})

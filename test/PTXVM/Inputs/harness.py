# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs kernels through ptx-vm on numpy arrays."""

import json
import os
import subprocess
import tempfile

import numpy as np

SCALARS = {np.float32: "f32", np.float64: "f64", np.int32: "s32", np.uint32: "u32",
           np.int64: "s64", np.uint64: "u64", np.float16: "f16", np.uint16: "u16"}


def launch(ptx, entry, grid, block, args, shared=0, check="all", extra=()):
    """Runs `entry`; arrays in `args` are overwritten with what the kernel left.

    Returns ptx-vm's JSON object, with its exit code under "exit".
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["ptx-vm", "run", ptx, "--entry", entry, "--json",
                   "--grid", ",".join(map(str, grid)),
                   "--block", ",".join(map(str, block)),
                   "--shared", str(shared), "--check", check, *extra]
        outputs = []
        for index, value in enumerate(args):
            if isinstance(value, np.ndarray):
                path = os.path.join(folder, f"in{index}.npy")
                out = os.path.join(folder, f"out{index}.npy")
                np.save(path, value.reshape(-1))
                command += ["--arg", "npy:" + path, "--out", f"{index}={out}"]
                outputs.append((value, out))
            else:
                bits = np.atleast_1d(value).view(f"u{value.itemsize}")[0]
                command += ["--arg", f"{SCALARS[type(value)]}:0x{int(bits):x}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if not done.stdout.startswith("{"):
            raise RuntimeError(f"{entry}: {done.stderr.strip()}")
        for value, path in outputs:
            value.reshape(-1)[:] = np.load(path)
    result = json.loads(done.stdout)
    result["exit"] = done.returncode
    return result

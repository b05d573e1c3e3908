# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tensors of lit tests.

tensors.py write FILE name=type[2x3]:1,2,3,... ...   a .safetensors file; `iota`, `zeros` and `identity` stand for values
tensors.py print FILE                                one line per tensor: its name and its values
"""

import pathlib
import re
import sys

import ml_dtypes
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "bench"))

import ptx_machine  # noqa: E402

TYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "i32": np.int32}


def parse(text):
    name, dtype, sizes, values = re.fullmatch(r"(\w+)=(\w+)\[([\dx]*)\]:(.*)", text).groups()
    shape = tuple(int(size) for size in sizes.split("x") if size)
    made = {"iota": lambda: np.arange(np.prod(shape)), "zeros": lambda: np.zeros(shape), "identity": lambda: np.eye(*shape)}
    data = made[values]() if values in made else np.array([float(value) for value in values.split(",")])
    return name, data.reshape(shape).astype(TYPES[dtype])


action, path, *tensors = sys.argv[1:]
if action == "write":
    ptx_machine.save(path, dict(parse(text) for text in tensors))
else:
    for name, array in sorted(ptx_machine.load(path).items()):
        print(f"{name}:", " ".join(f"{float(value):.4g}" for value in array.ravel()))

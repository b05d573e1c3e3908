# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles a module with nagc, loads the object code and calls its functions with numpy arrays.

    program = compile_text(mlir, tmp_path)
    results = program.call("f", {"x": x, "w": w})

Buffers that the program writes are filled with a pattern that reads as NaN and end in a guard zone, so that an element
left unwritten or a write past the end shows.
"""

import ctypes
import json
import os
import subprocess
from pathlib import Path

import ml_dtypes
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {"f64": np.float64, "f32": np.float32, "bf16": ml_dtypes.bfloat16, "i32": np.int32, "i64": np.int64,
          "u8": np.uint8}
ALIGNMENT = 64
GUARD_BYTES = 256
FILL = 0xFF  # four or eight of these bytes are a NaN


class HarnessError(Exception):
    """A failed compilation or a call that does not fit the program."""


def build_folder():
    return Path(os.environ.get("NAG_BUILD", ROOT / "build"))


def run(command, env=None):
    result = subprocess.run([str(x) for x in command], capture_output=True, text=True, env=env)
    if result.returncode != 0:
        raise HarnessError(f"{Path(command[0]).name} exited with {result.returncode}: {result.stderr.strip()}")
    return result.stdout


class Buffer:
    """Aligned memory with a guard zone behind it."""

    def __init__(self, size):
        self.size = size
        raw = np.full(size + ALIGNMENT + GUARD_BYTES, FILL, dtype=np.uint8)
        skip = -raw.ctypes.data % ALIGNMENT
        self.bytes = raw[skip:skip + size + GUARD_BYTES]

    @property
    def address(self):
        return self.bytes.ctypes.data

    def array(self, dtype, shape):
        return self.bytes[:self.size].view(dtype).reshape(shape)

    def intact(self):
        return bool((self.bytes[self.size:] == FILL).all())


class Argument:
    """One entry of a function's `arguments` in the manifest."""

    def __init__(self, entry):
        self.name, self.shape, self.access = entry["name"], tuple(entry["shape"]), entry["access"]
        if entry["dtype"] not in DTYPES:
            raise HarnessError(f"argument '{self.name}': expected a dtype of {sorted(DTYPES)}, but got "
                               f"'{entry['dtype']}'")
        self.dtype = np.dtype(DTYPES[entry["dtype"]])

    @property
    def read(self):
        return self.access in ("read", "readwrite")

    @property
    def written(self):
        return self.access in ("write", "readwrite")

    def check(self, value):
        if not isinstance(value, (np.ndarray, np.generic)):
            raise HarnessError(f"argument '{self.name}': expected a numpy array, but got {type(value).__name__}")
        if value.dtype != self.dtype or value.shape != self.shape:
            raise HarnessError(f"argument '{self.name}': expected {self.dtype}{list(self.shape)}, but got "
                               f"{value.dtype}{list(value.shape)}")

    def buffer(self, value):
        """A buffer of the program's own, holding `value` where there is one."""
        buffer = Buffer(self.dtype.itemsize * int(np.prod(self.shape, dtype=np.int64)))
        if value is not None:
            buffer.array(self.dtype, self.shape)[...] = value
        return buffer


class Program:
    """A loaded shared library and its manifest."""

    def __init__(self, library, manifest):
        self.library, self.manifest = ctypes.CDLL(str(library)), manifest
        self.functions = {f["name"]: f for f in manifest["functions"]}

    def function(self, name):
        if name not in self.functions:
            raise HarnessError(f"expected a function of {sorted(self.functions)}, but got '{name}'")
        return self.functions[name]

    def arguments(self, name):
        return [Argument(entry) for entry in self.function(name)["arguments"]]

    def call(self, name, inputs):
        """Runs a function; `inputs` holds every argument that is read. Returns every argument that is written.

        The inputs keep their values: an argument that is read and written is passed as a copy.
        """
        arguments = self.arguments(name)
        check_names(name, arguments, inputs)
        buffers = {a.name: a.buffer(inputs.get(a.name)) for a in arguments}
        self.invoke(name, [buffers[a.name].address for a in arguments])
        for a in arguments:
            check_unharmed(name, a, buffers[a.name], inputs.get(a.name))
        return {a.name: buffers[a.name].array(a.dtype, a.shape).copy() for a in arguments if a.written}

    def workspace(self, name):
        """Memory for calls of a function."""
        return Buffer(self.function(name)["workspace_bytes"])

    def invoke(self, name, addresses, workspace=None):
        """Runs a function on the buffers at these addresses, in the manifest's order; in memory of its own where no workspace is given."""
        entry = self.function(name)
        symbol = getattr(self.library, entry["symbol"])
        symbol.argtypes, symbol.restype = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p], None
        workspace = workspace or self.workspace(name)
        symbol((ctypes.c_void_p * len(addresses))(*addresses), workspace.address)
        if not workspace.intact():
            raise HarnessError(f"function '{name}' wrote past the end of its workspace")


def check_names(function, arguments, inputs):
    expected = {a.name for a in arguments if a.read}
    if expected != set(inputs):
        missing, unknown = sorted(expected - set(inputs)), sorted(set(inputs) - expected)
        raise HarnessError(f"function '{function}': arguments missing: {missing}, unknown: {unknown}")
    for a in arguments:
        if a.read:
            a.check(inputs[a.name])


def check_unharmed(function, argument, buffer, value):
    if not buffer.intact():
        raise HarnessError(f"function '{function}' wrote past the end of argument '{argument.name}'")
    if not argument.written and buffer.array(argument.dtype, argument.shape).tobytes() != value.tobytes():
        raise HarnessError(f"function '{function}' wrote to argument '{argument.name}', which it may only read")


def link(folder, libraries=None):
    """Links DIR/program.o into a shared library and loads it."""
    folder = Path(folder)
    if libraries is None:
        libraries = [build_folder() / "lib" / "libNagKernels.a", "-ldnnl", openmp_library()]
    library = folder / "program.so"
    run([os.environ.get("CC", "cc"), "-shared", "-o", library, folder / "program.o", *libraries, "-lm"])
    return Program(library, json.loads((folder / "manifest.json").read_text()))


def openmp_library():
    """LLVM's OpenMP runtime, by path: the compiler driver does not search its folder."""
    found = sorted(Path("/usr/lib").glob("llvm-*/lib/libomp.so"))
    return found[-1] if found else "-lomp"


def compile_file(path, folder, options=()):
    """`nagc compile` on a model file; `folder` receives program.o and manifest.json."""
    run([build_folder() / "bin" / "nagc", "compile", path, "--target", "cpu", "--emit", "object", "-o", folder,
         *options])
    return link(folder)


def compile_text(text, folder, options=()):
    """`nagc compile` on module text."""
    path = Path(folder) / "module.mlir"
    path.write_text(text)
    return compile_file(path, Path(folder) / "compiled", options)

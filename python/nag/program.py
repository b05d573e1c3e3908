# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiled programs: their functions on arrays, and the buffers of their parameters."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Iterator, Mapping

import numpy as np

from . import _arguments as arguments
from . import _core
from ._errors import ArgumentError

_NUMPY_TYPES = {"f64": np.float64, "f32": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32,
                "i16": np.int16, "i8": np.int8, "u16": np.uint16, "u8": np.uint8, "bool": np.bool_}


@dataclass(frozen=True)
class TensorInfo:
    """One argument of a function: a dense row-major buffer. `access` is "read", "write" or "readwrite"."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    access: str


@dataclass(frozen=True)
class ParameterInfo:
    """A trained parameter. With layers > 0 it is a stack whose name holds "{layer}"."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layers: int
    group: str
    constraint: str


class Call:
    """A function bound to arrays, to be called again and again. `results` are the arrays that it writes."""

    def __init__(self, core: _core.Call):
        self._core = core
        self.results: dict[str, Any] = dict(core.results)

    def __call__(self, stream: int | None = None) -> dict[str, Any]:
        """Runs the function. With the handle of a CUDA stream of the program's device (torch: stream.cuda_stream; 0: the
        default stream), sends the work there, behind the program's earlier work, and does not wait for it."""
        self._core(None if stream is None else arguments.whole("stream", stream, 0))
        return self.results


class Function:
    """A function of a program, called with arrays by name.

    Arrays are numpy's or anything that speaks DLPack; they are used in place, never copied or converted, so type, shape,
    device and layout must be the argument's own (ArgumentError else). Numbers may stand for scalars that are read.
    Arguments that are only written are optional: without them, new arrays are returned. Arrays that the function
    updates are changed in place.
    """

    def __init__(self, program: Program, name: str, arguments: tuple[TensorInfo, ...]):
        self._program, self.name, self.arguments = program, name, arguments

    def bind(self, **arrays: Any) -> Call:
        """Checks the arrays once and returns a call that may be repeated."""
        scalars = {a.name for a in self.arguments if a.shape == () and a.access == "read"}
        types = {a.name: a.dtype for a in self.arguments}
        for name, value in arrays.items():
            if name in scalars and isinstance(value, (int, float)):
                arrays[name] = np.array(value, _NUMPY_TYPES[types[name]])
                if not self._program.on_host:
                    arrays[name] = self._program.to_device(arrays[name])
        return Call(self._program._core.bind(self.name, arrays))

    def __call__(self, **arrays: Any) -> dict[str, Any]:
        """Runs the function and returns the arrays that it wrote, by name."""
        return self.bind(**arrays)()

    def __repr__(self) -> str:
        return f"<function {self.name}({', '.join(a.name for a in self.arguments)})>"


class Program:
    """A compiled program. Calls release the GIL; calls of one program follow each other, programs run side by side."""

    def __init__(self, core: _core.Program):
        self._core = core
        self.functions: dict[str, Function] = {
            name: Function(self, name, tuple(TensorInfo(*a) for a in arguments))
            for name, arguments in core.describe_functions()}
        self.parameters: tuple[ParameterInfo, ...] = tuple(ParameterInfo(*p) for p in core.describe_parameters())

    @property
    def config(self) -> dict[str, Any]:
        """The model's configuration; empty when the module has none."""
        return json.loads(self._core.config_json())

    @property
    def device(self) -> tuple[int, int]:
        """DLPack's type (1: host, 2: CUDA) and number of the device that the arrays live on."""
        return self._core.device()

    @property
    def on_host(self) -> bool:
        """True when the arrays are numpy's."""
        return self.device[0] == 1

    def to_device(self, array: Any) -> Any:
        """A copy of a numpy array on the program's device."""
        return self._core.to_device(np.asarray(array, order="C"))

    def to_host(self, array: Any) -> Any:
        """A numpy copy of an array on the program's device."""
        return self._core.to_host(array)

    def function(self, name: str) -> Function:
        if name not in self.functions:
            raise ArgumentError(f"expected a function of {', '.join(self.functions)}, but got '{name}'")
        return self.functions[name]

    def call(self, name: str, **arrays: Any) -> dict[str, Any]:
        """Runs a function by name."""
        return self.function(name)(**arrays)

    def weights(self, seed: int | None = None) -> Weights:
        """Buffers for the parameters: initialised from a seed, or zero."""
        weights = Weights(self, "", zeroed=seed is None)
        if seed is not None:
            weights.initialize(seed)
        return weights

    def close(self) -> None:
        """Ends the program's use: later calls raise ClosedError. Arrays that it gave out stay valid."""
        self._core.close()

    @property
    def closed(self) -> bool:
        return self._core.closed

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Weights(Mapping[str, Any]):
    """The arrays of a program's parameters by name, without copies: writing to one changes the weights.

    Stacks of layers go by the name with "{layer}", their slices by the name with a number:
    "transformer.h.3.attn.c_q.weight".
    """

    def __init__(self, program: Program, prefix: str = "", zeroed: bool = True):
        self._program, self.prefix = program, prefix
        self._core = _core.Weights.create(program._core, prefix, zeroed)
        self._arrays: dict[str, Any] = {p.name: self._core.array(p.name) for p in program.parameters}

    def initialize(self, seed: int) -> None:
        """Fills the arrays as a training run with this seed starts."""
        self._core.initialize(arguments.whole("seed", seed, 0))
        if not self.prefix and "constrain" in self._program.functions:
            self._program.call("constrain", **self.arguments("constrain"))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Reads a checkpoint, the newest checkpoint of a folder, or any safetensors file with the parameters' names.

        Fails with a CheckpointError, and leaves the weights as they were, when the file is another model's.
        """
        self._core.load(arguments.path("path", path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file: one tensor per layer, the configuration in the metadata."""
        self._core.save(arguments.path("path", path))

    def arguments(self, function: str) -> dict[str, Any]:
        """The arrays that are arguments of a function, by the arguments' names."""
        names = {a.name for a in self._program.function(function).arguments}
        return {self.prefix + name: array for name, array in self._arrays.items() if self.prefix + name in names}

    def __getitem__(self, name: str) -> Any:
        if name in self._arrays:
            return self._arrays[name]
        layer = re.search(r"\.(\d+)\.", name)
        stack = name[:layer.start(1)] + "{layer}" + name[layer.end(1):] if layer else name
        if layer and stack in self._arrays and int(layer[1]) < len(self._arrays[stack]):
            return self._arrays[stack][int(layer[1]), ...]
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Copies values into a parameter."""
        target = self[name]
        value = np.asarray(value)
        if value.shape != target.shape:
            raise ArgumentError(f"parameter '{name}': expected shape {target.shape}, but got {value.shape}")
        target[...] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

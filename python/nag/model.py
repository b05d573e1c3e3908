# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models as MLIR modules, and their compilation."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence, Union

from . import _arguments as arguments
from . import _core
from ._errors import ArgumentError, CompileError, Error
from .config import ModelConfig
from .program import Program

PathLike = Union[str, "os.PathLike[str]"]


class Model:
    """A verified module of nag ops.

    >>> import nag
    >>> model = nag.Model(nag.ModelConfig(layers=2, width=32, heads=2, seq=8, batch=2))
    >>> "func.func @loss" in model.text
    True

    Several models live side by side in one process, and one model may be used by several threads.
    """

    def __init__(self, config: ModelConfig | None = None, **fields: object):
        """Builds the model of a configuration; `fields` are fields of ModelConfig that change it."""
        config = config or ModelConfig()
        if not isinstance(config, ModelConfig):
            raise ArgumentError(f"config: expected a ModelConfig, but got {type(config).__name__}")
        self._core = _core.Model.build(config.replace(**fields).to_json())
        self.name = "model"

    @classmethod
    def from_text(cls, text: str, name: str = "<text>") -> Model:
        """Parses and verifies MLIR text; `name` stands in messages. Fails with a CompileError."""
        return cls._wrap(_core.Model.parse(arguments.string("text", text), name), name)

    @classmethod
    def from_file(cls, path: PathLike) -> Model:
        """Parses and verifies a file of MLIR text."""
        return cls._wrap(_core.Model.read(os.fspath(path)), os.fspath(path))

    @classmethod
    def _wrap(cls, core: _core.Model, name: str) -> Model:
        model = cls.__new__(cls)
        model._core, model.name = core, name
        return model

    @property
    def text(self) -> str:
        """MLIR text to be read by people; from_text gives the same model."""
        return self._core.print()

    @property
    def config(self) -> ModelConfig:
        """The configuration; fails with a ConfigError for modules that have none."""
        return ModelConfig.from_json(self._core.config_json(), self.name)

    def save(self, path: PathLike) -> None:
        """Writes the text, as nagc reads it."""
        Path(path).write_text(self.text)

    def compile(self, functions: Sequence[str] = (), *, differentiate: str = "", recompute: str = "cheap",
                target: str = "cpu", device: str = "", chip: str = "", precision: str = "f32",
                threads: int = 0, schedule: PathLike | Mapping[str, Any] | None = None,
                kernel_cache: PathLike | None = None, generation: tuple[int, int, int] | None = None,
                kv_budget: float | None = None) -> Program:
        """Compiles functions of the model (all public ones when none are named) for a target.

        `differentiate` names a function whose derivative is added: "loss" brings `gradients`, `accumulate`, `apply`
        and `constrain`; any other f brings `f.gradients`, which takes cotangents. `recompute` ("none", "cheap", "all")
        says what the backward pass computes again instead of saving. `device` and `chip` are names of the target's;
        `threads` is for the host program, 0 for one per processor. `schedule` says how kernels of the target cuda are cut
        into blocks and warps: a file of `nagc tune`, or what such a file holds. `kernel_cache` is the folder in which that
        target keeps its PTX (None: ~/.cache/nag, as nagc; "": it keeps nothing). `generation` = (batch, prompt, capacity)
        adds the functions `prefill` and `decode` of these sizes (Generator uses them). `kv_budget` is the room that a model
        with mod_kv="routed" has for keys and values, as a share of what all tokens' would take (None: what the rate of skips
        leaves).
        """
        functions = [functions] if isinstance(functions, str) else functions
        functions = [arguments.string("functions", f) for f in functions]
        names = {"target": target, "device": device, "chip": chip, "precision": precision}
        where: dict[str, Any] = {key: arguments.string(key, value) for key, value in names.items()}
        where["threads"] = arguments.whole("threads", threads)
        where["kernel_cache"] = None if kernel_cache is None else arguments.path("kernel_cache", kernel_cache)
        sizes = None if generation is None else [arguments.whole("generation", n) for n in generation]
        if sizes is not None and len(sizes) != 3:
            raise ArgumentError(f"generation: expected (batch, prompt, capacity), but got {generation}")
        budget = 0.0 if kv_budget is None else arguments.real("kv_budget", kv_budget)
        if kv_budget is not None and not 0.0 < budget <= 1.0:
            raise ArgumentError(f"kv_budget: expected a share in (0, 1], but got {kv_budget}")
        with _schedule_file(schedule) as path:
            core = self._core.compile(functions, arguments.string("differentiate", differentiate),
                                      arguments.string("recompute", recompute), {**where, "schedule": path}, sizes, budget)
        return Program(core)


@contextmanager
def _schedule_file(schedule: PathLike | Mapping[str, Any] | None) -> Iterator[str]:
    """The path of a schedule that is a file, or a file that holds one while the compiler reads it."""
    if not isinstance(schedule, Mapping):
        yield arguments.path("schedule", schedule) if schedule is not None else ""
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "schedule")
        try:
            Path(path).write_text(json.dumps(schedule))
            yield path
        except TypeError as error:
            raise ArgumentError(f"schedule: expected what JSON can hold: {error}") from None
        except Error as error:  # the file is nobody's but ours
            error.args = (str(error).replace(path, "schedule"),)
            if isinstance(error, CompileError):
                error.diagnostics = tuple(replace(d, message=d.message.replace(path, "schedule")) for d in error.diagnostics)
            raise


def infer_types(op: str, operands: Sequence[str], attributes: str = "") -> list[str]:
    """The result types of an op on operands of these types, as MLIR text."""
    return _core.infer_types(op, list(operands), attributes)


def targets() -> list[str]:
    """The names of the targets that this build compiles for."""
    return _core.list_targets().split(", ")


def presets() -> list[str]:
    """The names of the preset configurations."""
    return _core.list_presets().split(", ")

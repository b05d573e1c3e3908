# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Models as MLIR modules, and their compilation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence, Union

from . import _core
from ._errors import ArgumentError
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
        return cls._wrap(_core.Model.parse(text, name), name)

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
                threads: int = 0, generation: tuple[int, int, int] | None = None) -> Program:
        """Compiles functions of the model (all public ones when none are named) for a target.

        `differentiate` names a function whose derivative is added: "loss" brings `gradients`, `accumulate`, `apply`
        and `constrain`; any other f brings `f.gradients`, which takes cotangents. `recompute` ("none", "cheap", "all")
        says what the backward pass computes again instead of saving. `device` and `chip` are names of the target's;
        `threads` is for the host program, 0 for one per processor. `generation` = (batch, prompt, capacity) adds the
        functions `prefill` and `decode` of these sizes (Generator uses them).
        """
        if isinstance(functions, str):
            functions = [functions]
        core = self._core.compile(list(functions), differentiate, recompute, target, device, chip, precision, threads,
                                  generation)
        return Program(core)


def infer_types(op: str, operands: Sequence[str], attributes: str = "") -> list[str]:
    """The result types of an op on operands of these types, as MLIR text."""
    return _core.infer_types(op, list(operands), attributes)


def targets() -> list[str]:
    """The names of the targets that this build compiles for."""
    return _core.list_targets().split(", ")


def presets() -> list[str]:
    """The names of the preset configurations."""
    return _core.list_presets().split(", ")

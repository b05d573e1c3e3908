# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A compiler for norm-agnostic residual transformers.

    import nag
    model = nag.Model(nag.ModelConfig.preset("tiny"))
    result = nag.train(model, "/usr/share/games/fortunes", steps=200, checkpoint_dir="run")

`Model` is a module of nag ops (its MLIR is `model.text`), `Program` what it compiles to, `Trainer` a training loop on
arrays of the caller's. Everything that fails raises a subclass of `nag.Error`.
"""

from ._core import __version__  # type: ignore[attr-defined]
from ._errors import ArgumentError, CheckpointError, ClosedError, CompileError, ConfigError, Diagnostic, Error
from .builder import FunctionBuilder, ModuleBuilder, Value
from .checkpoints import Tokenizer, export_checkpoint, import_checkpoint
from .config import ModelConfig
from .generation import Generator
from .model import Model, infer_types, presets, targets
from .program import Call, Function, ParameterInfo, Program, TensorInfo, Weights
from .training import Evaluation, Result, Step, Trainer, evaluate, train

__all__ = [
    "ArgumentError", "Call", "CheckpointError", "ClosedError", "CompileError", "ConfigError", "Diagnostic", "Error",
    "Evaluation", "Function", "FunctionBuilder", "Generator", "Model", "ModelConfig", "ModuleBuilder", "ParameterInfo", "Program",
    "Result", "Step", "TensorInfo", "Tokenizer", "Trainer", "Value", "Weights", "__version__", "evaluate",
    "export_checkpoint", "import_checkpoint", "infer_types", "presets",
    "targets", "train",
]

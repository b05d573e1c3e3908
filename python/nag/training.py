# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training: whole runs on files as nagc does them, and single steps on arrays."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Callable, Sequence, Union

import numpy as np

from . import _arguments as arguments
from . import _core
from ._errors import ArgumentError
from .model import Model
from .program import Program, Weights
from .routing import Routing, routed_functions

Paths = Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]]


@dataclass(frozen=True)
class Step:
    """What a step of training reports. `loss` is in nats per token, `grad_norm` before clipping."""

    step: int
    loss: float
    grad_norm: float


@dataclass(frozen=True)
class Evaluation:
    """Mean nats per token over `tokens` tokens; bits per byte where the bytes of a token are known."""

    loss: float
    bits_per_byte: float | None
    tokens: int


@dataclass(frozen=True)
class Result:
    """How a run ended. `signal` is the number of the signal that stopped it, else 0; `checkpoint` may be empty."""

    step: int
    loss: float
    validation: Evaluation | None
    checkpoint: str
    signal: int


class Trainer:
    """Trains a model step by step on batches that the caller brings.

    >>> import nag, numpy as np
    >>> trainer = nag.Trainer(nag.Model(layers=1, width=32, heads=2, seq=8, batch=2))
    >>> text = np.frombuffer(b"the cat sat on the mat", np.uint8).astype(np.int32)[:17]
    >>> losses = [trainer.step(text[:16].reshape(2, 8), text[1:].reshape(2, 8)).loss for _ in range(20)]
    >>> losses[-1] < losses[0]
    True

    `seed` keys the initial values. `lr` is the peak rate (None: the model's), reached after `warmup` steps; `clip` bounds the
    gradient's global norm (0: no bound); alpha counts fully after `alpha_warmup` steps. The other options are those of
    Model.compile. With depth routing, `routing` has the thresholds and what share of the last batch skipped each sub-layer.
    """

    def __init__(self, model: Model, *, seed: int = 0, lr: float | None = None, warmup: int = 0, clip: float = 1.0,
                 alpha_warmup: int = 0, **target: Any):
        self.program = model.compile(["loss", "logits", *routed_functions(model)], differentiate="loss", **target)
        self.routing = Routing(self.program)
        self.routing.check_training()
        self.model, self.seed, self.clip = model, seed, arguments.positive("clip", clip)
        self.warmup, self.alpha_warmup = arguments.whole("warmup", warmup, 0), arguments.whole("alpha_warmup", alpha_warmup, 0)
        self.lr = float(self.program.config.get("lr", 3e-3)) if lr is None else arguments.positive("lr", lr)
        self.weights = self.program.weights(seed)
        self.gradients = Weights(self.program, "grad:", zeroed=False)
        self._moments = [Weights(self.program, prefix) for prefix in ("m:", "v:")]
        self.steps = 0
        self._scalars: dict[str, np.ndarray] = {name: np.zeros((), _scalar_type(self.program)) for name in ("lr", "step", "clip", "grad_scale")}
        self._apply = self._bind_apply()

    def _bind_apply(self) -> Any:
        buffers = [self.weights, self.gradients, *self._moments]
        scalars = {name: self._put(value) for name, value in self._scalars.items()}
        return self.program.function("apply").bind(
            **scalars, **{k: v for part in buffers for k, v in part.arguments("apply").items()})

    def _put(self, array: Any) -> Any:
        """A host array where the program reads it; arrays that are there already stay as they are."""
        return self.program.to_device(array) if isinstance(array, np.ndarray) and not self.program.on_host else array

    def _get(self, array: Any) -> Any:
        return array if self.program.on_host else self.program.to_host(array)

    def _gate_scale(self) -> dict[str, float]:
        """The warm-up factor of alpha; prenorm models have none."""
        takes = any(a.name == "gate_scale" for a in self.program.function("loss").arguments)
        done = self.steps + 1
        return {"gate_scale": min(1.0, done / self.alpha_warmup) if self.alpha_warmup else 1.0} if takes else {}

    def step(self, tokens: Any, targets: Any, lr: float | None = None) -> Step:
        """One step of the optimizer on one batch: int32 arrays [batch, seq]; targets of -1 do not count.

        Fails with an ArithmeticError, before the weights change, when the loss is not finite.
        """
        check_tokens(tokens, self.program, "tokens", lowest=0)
        check_tokens(targets, self.program, "targets", lowest=-1)
        rate = self.lr if lr is None else arguments.positive("lr", lr)
        scale = self._gate_scale()
        results = self.program.call("gradients", tokens=self._put(tokens), targets=self._put(targets), **scale,
                                    **self.routing.inputs("gradients", self.steps + 1),
                                    **self.weights.arguments("gradients"),
                                    **self.gradients.arguments("gradients"))
        loss = float(self._get(results["loss"]))
        if not math.isfinite(loss):
            raise ArithmeticError(f"step {self.steps + 1}: expected a finite loss, but got {loss}")
        self.gates = results.get("gates") if self.program.on_host else None
        self.steps += 1
        self.routing.adapt(results, self.steps, scale.get("gate_scale", 1.0))
        if lr is None and self.steps <= self.warmup:
            rate *= self.steps / self.warmup
        for name, value in {"lr": rate, "step": self.steps, "clip": self.clip, "grad_scale": 1.0}.items():
            self._scalars[name][...] = value
        apply = self._apply if self.program.on_host else self._bind_apply()
        return Step(self.steps, loss, float(self._get(apply()["grad_norm"])))

    def evaluate(self, tokens: Any, targets: Any) -> float:
        """The loss of one batch, in nats per token."""
        check_tokens(tokens, self.program, "tokens", lowest=0)
        check_tokens(targets, self.program, "targets", lowest=-1)
        results = self.program.call("loss", tokens=self._put(tokens), targets=self._put(targets), **self._gate_scale(),
                                    **self.routing.inputs("loss", self.steps, evaluates=True),
                                    **self.weights.arguments("loss"))
        return float(self._get(results["loss"]))

    def logits(self, tokens: Any) -> Any:
        """Logits [batch, seq, padded vocab] of one batch."""
        check_tokens(tokens, self.program, "tokens", lowest=0)
        results = self.program.call("logits", tokens=self._put(tokens), **self._gate_scale(),
                                    **self.routing.inputs("logits", self.steps),
                                    **self.weights.arguments("logits"))
        return self._get(results["logits"])

    def save(self, folder: str | os.PathLike[str]) -> str:
        """Writes a checkpoint (weights, moments, position) that nagc reads too, and returns its path."""
        parts = [self.weights._core, *(m._core for m in self._moments)]
        return _core.save_checkpoint(os.fspath(folder), parts, self.steps, self.seed, self.routing.values())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Goes on from a checkpoint or the newest one of a folder: later steps give the same bits as without a stop."""
        parts = [self.weights._core, *(m._core for m in self._moments)]
        self.steps, self.seed = _core.load_checkpoint(os.fspath(path), parts)
        self.routing.load(path)


def _scalar_type(program: Program) -> type:
    return np.float64 if program.config.get("dtype") == "f64" else np.float32


def check_tokens(tokens: Any, program: Program, name: str, lowest: int) -> None:
    """Tokens outside the vocabulary are refused here: the program would read memory that is not its own."""
    limit = program.config.get("vocab")
    array = np.asarray(tokens) if isinstance(tokens, np.ndarray) or hasattr(tokens, "__dlpack__") else None
    if limit is None or array is None or array.dtype != np.int32 or array.size == 0:
        return
    if array.min() < lowest or array.max() >= limit:
        bad = array.min() if array.min() < lowest else array.max()
        raise ArgumentError(f"{name}: expected tokens in [{lowest}, {limit}), but got {bad}")


def _list(paths: Paths) -> list[str]:
    return [arguments.path("data", p) for p in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]


_TARGET_OPTIONS = {"target", "device", "chip", "precision", "threads", "recompute", "schedule", "kernel_cache"}
_RUN_OPTIONS: dict[str, Callable[[str, Any], Any]] = {
    "seed": lambda name, value: arguments.whole(name, value, 0),
    **dict.fromkeys(("steps", "warmup", "alpha_warmup", "accumulate", "val_interval", "val_batches", "gate_interval",
                     "checkpoint_interval", "keep"), arguments.whole),
    **dict.fromkeys(("lr", "decay_floor", "clip", "flops_budget"), arguments.real),
    **dict.fromkeys(("checkpoint_dir", "log"), arguments.path), "resume": lambda name, value: bool(value)}


def train(model: Model, data: Paths, *, val_fraction: float = 0.05, bytes_per_token: float = 0.0, progress: bool = False,
          **options: Any) -> Result:
    """A whole run, as `nagc train`: data files or folders, validation, checkpoints, a log that nagc report draws.

    Options are nagc's with underscores: steps, seed, lr, warmup, decay_floor, alpha_warmup, clip, accumulate, val_interval,
    val_batches, gate_interval, checkpoint_dir, checkpoint_interval, keep, resume, log, flops_budget (in place of steps), and
    those of Model.compile.
    """
    unknown = sorted(options.keys() - _TARGET_OPTIONS - _RUN_OPTIONS.keys())
    if unknown:
        raise ArgumentError(f"train: expected options of {', '.join(sorted({*_RUN_OPTIONS, *_TARGET_OPTIONS}))}, but got "
                            f"'{unknown[0]}'")
    norms = ["norms"] if model._core.can_derive_norms() else []
    program = model.compile(["loss", *norms, *routed_functions(model)], differentiate="loss",
                            **{k: v for k, v in options.items() if k in _TARGET_OPTIONS})
    run: dict[str, Any] = {k: _RUN_OPTIONS[k](k, v) for k, v in options.items() if k in _RUN_OPTIONS and v is not None}
    if "checkpoint_dir" in run and "log" not in run:
        run["log"] = os.path.join(run["checkpoint_dir"], "log.jsonl")
    step, loss, validation, checkpoint, signal = _core.train(
        program._core, model._core, _list(data), arguments.real("val_fraction", val_fraction),
        arguments.real("bytes_per_token", bytes_per_token), run, bool(progress))
    return Result(step, loss, Evaluation(*validation) if validation else None, checkpoint, signal)


def evaluate(model: Model, checkpoint: str | os.PathLike[str], data: Paths, *, val_fraction: float = 0.05,
             bytes_per_token: float = 0.0, batches: int = 0, **target: Any) -> Evaluation:
    """The loss of a checkpoint on the validation part of data, as `nagc eval`; at most `batches` batches (0: all)."""
    program = model.compile(["loss"], **target)
    weights = Weights(program)
    weights.load(checkpoint)
    found: Any = _core.evaluate(
        program._core, weights._core, os.fspath(checkpoint), _list(data), arguments.real("val_fraction", val_fraction),
        arguments.real("bytes_per_token", bytes_per_token), arguments.whole("batches", batches, 0))
    return Evaluation(*found)

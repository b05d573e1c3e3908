# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Depth routing while a program trains: the rate of a step and the thresholds that follow the gates, as nagc train has them."""

from __future__ import annotations

import os
from typing import Any, Mapping

import numpy as np

from . import _core
from ._errors import ArgumentError, ConfigError
from .model import Model
from .program import Program


def routed_functions(model: Model) -> list[str]:
    """The function beside `loss` that training a routed model calls."""
    try:
        return ["adapt"] if model.config.mod_policy != "none" else []
    except ConfigError:
        return []


class Routing:
    """What a routed program reads beside tokens and weights; for other programs it has nothing to say.

    `thresholds` are those of full gates, one per sub-layer (None where no function reads them). `shares` says what share of
    the last batch skipped each sub-layer.
    """

    def __init__(self, program: Program):
        config = program.config
        self._program = program
        self.policy = config.get("mod_policy", "none")
        self.rate, self.warmup, self.ramp = (float(config.get("mod_rate", 0)), int(config.get("mod_warmup", 0)),
                                             int(config.get("mod_ramp", 0)))
        self._weight, self._decay = float(config.get("mod_aux", 0)), float(config.get("mod_ema", 0))
        found = [a for f in program.functions.values() for a in f.arguments if a.name == "thresholds"]
        self.thresholds = np.zeros(found[0].shape, np.dtype(found[0].dtype.replace("f", "float"))) if found else None
        self.shares: np.ndarray | None = None

    @property
    def is_routed(self) -> bool:
        return self.policy != "none"

    def check_training(self) -> None:
        if self.policy == "threshold":
            raise ArgumentError("mod_policy: expected capacity or rate to train with, but got threshold")

    def rate_at(self, step: int) -> float:
        """The rate of a step that counts from 1: none while warming up, then a ramp."""
        done = step - self.warmup
        return 0.0 if done <= 0 else self.rate if done >= self.ramp else self.rate * done / self.ramp

    def inputs(self, function: str, step: int | None = None, evaluates: bool = False) -> dict[str, Any]:
        """What the function reads of this; without a step, at the full rate."""
        values = {"thresholds": self.thresholds, "skip_rate": self.rate if step is None else self.rate_at(step),
                  "aux_weight": 0.0 if evaluates else self._weight}
        names = {a.name for a in self._program.function(function).arguments if a.access != "write"}
        return {name: self._put(value) for name, value in values.items() if name in names}

    def adapt(self, results: Mapping[str, Any], step: int, gate_scale: float) -> None:
        """Lets the thresholds follow the gates that `gradients` returned for the step's batch."""
        if not self.is_routed or self.thresholds is None:
            return
        offsets = self._get(results["offsets"])
        tokens = next(a.shape for a in self._program.function("gradients").arguments if a.name == "tokens")
        self.shares = 1.0 - offsets[:, -1] / np.prod(tokens)
        age = step - self.warmup
        if age < 1:
            return
        weight = max(1.0 - self._decay, 1.0 / age)
        amount = weight / gate_scale if gate_scale > 0 else 0.0
        kept = 1.0 - weight if amount > 0 else 1.0
        fill = lambda value: np.full_like(self.thresholds, value)
        thresholds = self._put(self.thresholds)
        moved = self._program.call("adapt", gates=results["gates"], thresholds=thresholds,
                                   skip_rate=self.rate_at(step), threshold_keep=self._put(fill(kept)),
                                   threshold_step=self._put(fill(amount)))
        self.thresholds[...] = self._get(moved["thresholds"])

    def values(self) -> list[float]:
        return [] if self.thresholds is None else self.thresholds.tolist()

    def load(self, path: str | os.PathLike[str]) -> None:
        """Reads the thresholds of a checkpoint; fails where it has none and the policy needs them."""
        if self.is_routed and self.thresholds is not None:
            values = _core.read_thresholds(os.fspath(path), len(self.thresholds), self.policy)
            self.thresholds[...] = values or 0.0

    def _put(self, value: Any) -> Any:
        return self._program.to_device(value) if isinstance(value, np.ndarray) and not self._program.on_host else value

    def _get(self, array: Any) -> np.ndarray:
        return array if self._program.on_host else self._program.to_host(array)

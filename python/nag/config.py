# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Configurations of models. The compiler checks them; the fields are the keys of `nagc model --set`."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Any, Mapping

from . import _core


@dataclass(frozen=True)
class ModelConfig:
    """What a model is made of. None stands for "follows from the other fields".

    >>> import nag
    >>> nag.ModelConfig(layers=2, width=64, heads=2).complete().hidden
    256
    """

    layers: int = 4
    #: Width of the residual stream, a multiple of `heads`.
    width: int = 128
    heads: int = 4
    #: Key and value heads, a divisor of `heads`; None: as many as heads.
    kv_heads: int | None = None
    #: Inner width of the MLP; None: 4 * width.
    hidden: int | None = None
    vocab: int = 256
    #: Rows of the embedding matrices; None: vocab. Rows from vocab on never count.
    padded_vocab: int | None = None
    #: Tokens of a sequence, and sequences of a batch.
    seq: int = 128
    batch: int = 16
    #: Directions of the modulator (C).
    gate_directions: int = 32
    #: "nag" or "prenorm", the baseline x + F(rms_norm(x)).
    residual: str = "nag"
    #: "relu2", "gelu" or "swiglu".
    mlp: str = "relu2"
    #: RMS norm of queries and keys: "none", "fixed" or "learned".
    qk_norm: str = "fixed"
    qk_scale: float = 1.2
    rope_base: float = 1e5
    #: Positions before its own that a token sees: a number as text for all layers, or a pattern of S (short) and L
    #: (all) over the layers.
    window: str = "L"
    #: One matrix for embedding and unembedding.
    tied: bool = False
    #: "f32", "f64" or "bf16".
    dtype: str = "f32"
    eps: float = 1.1920928955078125e-07
    #: Depth routing: "none", "threshold", "capacity" or "rate", and the share of tokens that skip, in [0, 1).
    mod_policy: str = "none"
    mod_rate: float = 0.0
    #: Keys and values of "all" tokens or of those executed ("routed").
    mod_kv: str = "all"
    #: Layers at either end that execute every token; None: 1, or 0 where no layer would be routed.
    mod_exempt: int | None = None
    #: Steps that execute every token, then steps in which the rate grows.
    mod_warmup: int = 0
    mod_ramp: int = 0
    #: Weight of the auxiliary loss, the temperature of its sigmoid, the decay of the thresholds' average.
    mod_aux: float = 0.0
    mod_temperature: float = 0.05
    mod_ema: float = 0.95
    embed_std: float = 1.0
    #: None: 1, or 0.02 in prenorm models.
    head_std: float | None = None
    project_std: float = 0.0
    #: Peak learning rate; None: 3e-3, or 1e-3 in prenorm models.
    lr: float | None = None
    gate_lr_scale: float = 0.1
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    adam_eps: float = 1e-8

    @classmethod
    def preset(cls, name: str, **changes: Any) -> ModelConfig:
        """The preset tiny, small, nanochat or deep, with fields changed."""
        return cls.from_dict({"preset": name, **changes}, f"preset {name}")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], origin: str = "config") -> ModelConfig:
        """From some of the fields and perhaps "preset"; `origin` stands in messages."""
        return cls.from_json(json.dumps(dict(fields)), origin)

    @classmethod
    def from_json(cls, text: str, origin: str = "config") -> ModelConfig:
        """From a JSON object; fails with a ConfigError on anything that is no field of a model or out of range."""
        return cls(**json.loads(_core.complete_config(text, origin)))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> ModelConfig:
        """From a JSON file."""
        return cls(**json.loads(_core.read_config_file(os.fspath(path))))

    @staticmethod
    def schema() -> dict[str, Any]:
        """The JSON Schema of configuration files, as `nagc model --schema` prints it."""
        return json.loads(_core.config_schema())

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    def complete(self) -> ModelConfig:
        """This configuration checked, with every field set."""
        return self.from_json(self.to_json())

    def replace(self, **changes: Any) -> ModelConfig:
        """A copy with fields changed."""
        unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(self)})
        if unknown:
            # The compiler's message names the nearest field.
            self.from_dict({unknown[0]: changes[unknown[0]]})
        return dataclasses.replace(self, **changes)

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Model configurations and the parameters they have: names, shapes, initial values, groups, constraints."""

from dataclasses import dataclass, replace

import numpy as np

GROUPS = {"matrix": 1.0, "embedding": 1.0, "head": 1.0, "scalar": 1.0, "gate": 0.1}  # learning-rate factors
SUBLAYERS = ("attn", "mlp")


@dataclass(frozen=True)
class Config:
    layers: int = 4
    width: int = 128
    heads: int = 4
    kv_heads: int = 4
    hidden: int = 512
    vocab: int = 256
    padded_vocab: int = 256
    seq: int = 128
    batch: int = 16
    gate_directions: int = 32
    mlp: str = "relu2"  # relu2, gelu, gelu_tanh or swiglu
    residual: str = "nag"  # or prenorm
    window: int | None = None
    rotary_base: float = 1e5
    qk_scale: float = 1.2
    mod_policy: str = "none"  # threshold, capacity or rate
    mod_rate: float = 0.0
    mod_kv: str = "all"  # or routed
    mod_exempt: int = 1
    mod_aux: float = 0.0
    mod_temperature: float = 0.05
    project_std: float = 0.0  # of the branches' output projections; 0 starts them at zero
    embed_std: float = 1.0
    head_std: float = 1.0

    def routed(self, layer):
        return self.mod_policy != "none" and self.mod_exempt <= layer < self.layers - self.mod_exempt

    @property
    def head_dim(self):
        return self.width // self.heads


TINY = Config()
SMALL = replace(TINY, layers=8, width=256, heads=8, kv_heads=8, hidden=1024, seq=256)
DEEP = replace(TINY, layers=64, width=64, heads=2, kv_heads=2, hidden=256)
PRESETS = {"tiny": TINY, "small": SMALL, "deep": DEEP}


def configure(preset, **settings):
    """A preset with some keys set; what is not set of the keys that follow others does so, as in `nagc model`."""
    follow = {"hidden": ("width", 4), "kv_heads": ("heads", 1), "padded_vocab": ("vocab", 1)}
    derived = {key: factor * settings[of] for key, (of, factor) in follow.items() if of in settings}
    return replace(PRESETS[preset], **derived | settings)


@dataclass(frozen=True)
class Parameter:
    name: str
    shape: tuple
    init: tuple  # (kind, values...): zeros, constant, normal, uniform (both by standard deviation), power
    group: str = "matrix"
    constraint: str = "none"


def matrices(c):
    """Name and (out, in) of each layer's weights."""
    kv = c.kv_heads * c.head_dim
    shapes = {"attn.c_q": (c.width, c.width), "attn.c_k": (kv, c.width), "attn.c_v": (kv, c.width),
              "attn.c_proj": (c.width, c.width), "mlp.c_fc": (c.hidden, c.width)}
    if c.mlp == "swiglu":
        shapes["mlp.c_gate"] = (c.hidden, c.width)
    return shapes | {"mlp.c_proj": (c.width, c.hidden)}


def weight_init(c, name, shape):
    std = c.project_std if name.endswith("c_proj") else shape[1] ** -0.5
    return ("uniform", std) if std > 0.0 else ("zeros",)


def gate_parameters(c, sublayer, offset):
    """`offset` is the 1-based index of the first layer's sub-layer: alpha starts at index^-1/2 (eq. 23-24)."""
    count, size = c.layers, c.gate_directions
    table = {"m_down.weight": ((size, c.width), ("uniform", c.width**-0.5)), "m_down.bias": ((size,), ("zeros",)),
             "coef": ((size,), ("zeros",)), "beta": ((), ("constant", np.log(np.e - 1.0))),
             "alpha": ((), ("power", -0.5, 2, offset))}
    return [Parameter(f"transformer.h.{{layer}}.{sublayer}_branch.{name}", (count, *shape), init, "gate")
            for name, (shape, init) in table.items()]


def parameters(c):
    nag = c.residual == "nag"
    result = [Parameter("transformer.wte.weight", (c.padded_vocab, c.width), ("normal", c.embed_std), "embedding",
                        "zero_mean" if nag else "none")]
    if nag:
        result.append(Parameter("g_log_encode", (), ("zeros",), "scalar"))
    for name, shape in matrices(c).items():
        init = weight_init(c, name, shape)
        result.append(Parameter(f"transformer.h.{{layer}}.{name}.weight", (c.layers, *shape), init))
    if nag:
        result += gate_parameters(c, "attn", 1) + gate_parameters(c, "mlp", 2)
    result.append(Parameter("lm_head.weight", (c.padded_vocab, c.width), ("normal", c.head_std), "head",
                            "zero_mean_unit_rms" if nag else "none"))
    return result


def initial_value(parameter, rng):
    kind, *values = parameter.init
    if kind == "normal":
        return values[0] * rng.standard_normal(parameter.shape)
    if kind == "uniform":
        return values[0] * np.sqrt(3.0) * rng.uniform(-1.0, 1.0, parameter.shape)
    if kind == "power":
        exponent, stride, offset = values
        return (stride * np.arange(parameter.shape[0]) + offset) ** exponent
    return np.full(parameter.shape, values[0] if kind == "constant" else 0.0)


def initial_values(c, seed):
    """Before the constraints of section 6 (see training.constrain)."""
    rng = np.random.default_rng(seed)
    return {p.name: np.asarray(initial_value(p, rng), dtype=np.float64) for p in parameters(c)}

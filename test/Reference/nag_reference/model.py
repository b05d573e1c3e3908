# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The whole model, forward and backward, in float64: the NAG transformer and the pre-norm baseline."""

from functools import partial

import numpy as np

import nag_reference as ops
from .config import SUBLAYERS

ACTIVATIONS = {"relu2": (ops.relu2, ops.relu2_vjp), "gelu": (ops.gelu, ops.gelu_vjp),
               "gelu_tanh": (partial(ops.gelu, approximate_tanh=True),
                             partial(ops.gelu_vjp, approximate_tanh=True))}
GATE = ("m_down.weight", "m_down.bias", "coef", "beta", "alpha")


def layer_weight(params, layer, name):
    return params[f"transformer.h.{{layer}}.{name}"][layer]


def add_layer_grad(grads, layer, name, value):
    grads[f"transformer.h.{{layer}}.{name}"][layer] += value


class Attention:
    """The attention branch F(x), with what its backward pass needs."""

    def __init__(self, config, params, layer):
        self.config, self.layer = config, layer
        self.weight = {n: layer_weight(params, layer, f"attn.{n}.weight") for n in ("c_q", "c_k", "c_v", "c_proj")}

    def turned(self, x, heads):
        return ops.rotary(x, *self.table, heads)

    def normed(self, x, heads):
        return ops.rms_norm(x, groups=heads, factor=self.config.qk_scale)

    def forward(self, x, there=None):
        """`there` [B, T] says which tokens are keys (all)."""
        c, w = self.config, self.weight
        self.there = there
        self.x, self.table = x, ops.rotary_table(x.shape[1], c.head_dim, c.rotary_base)
        self.q = self.turned(ops.linear(x, w["c_q"]), c.heads)
        self.k = self.turned(ops.linear(x, w["c_k"]), c.kv_heads)
        self.operands = (self.normed(self.q, c.heads), self.normed(self.k, c.kv_heads), ops.linear(x, w["c_v"]))
        self.o, _ = ops.attention(*self.operands, c.heads, c.kv_heads, c.window, there)
        return ops.linear(self.o, w["c_proj"])

    def before_norm(self, x, dy, heads):
        return ops.rotary_vjp(ops.rms_norm_vjp(x, dy, groups=heads, factor=self.config.qk_scale), *self.table, heads)

    def backward(self, df, grads):
        c, w = self.config, self.weight
        do, dproj = ops.linear_vjp(self.o, w["c_proj"], df)
        dq, dk, dv = ops.attention_vjp(*self.operands, do, c.heads, c.kv_heads, c.window, self.there)
        cotangents = {"c_q": self.before_norm(self.q, dq, c.heads), "c_k": self.before_norm(self.k, dk, c.kv_heads),
                      "c_v": dv}
        add_layer_grad(grads, self.layer, "attn.c_proj.weight", dproj)
        dx = 0.0
        for name, cotangent in cotangents.items():
            part, dw = ops.linear_vjp(self.x, w[name], cotangent)
            add_layer_grad(grads, self.layer, f"attn.{name}.weight", dw)
            dx = dx + part
        return dx


class Mlp:
    """The MLP branch F(x), with what its backward pass needs."""

    def __init__(self, config, params, layer):
        self.config, self.layer = config, layer
        names = ("c_fc", "c_gate", "c_proj") if config.mlp == "swiglu" else ("c_fc", "c_proj")
        self.weight = {n: layer_weight(params, layer, f"mlp.{n}.weight") for n in names}

    def forward(self, x, there=None):
        self.x, self.up = x, ops.linear(x, self.weight["c_fc"])
        if self.config.mlp == "swiglu":
            self.gate = ops.linear(x, self.weight["c_gate"])
            self.h = ops.swiglu(self.gate, self.up)
        else:
            self.h = ACTIVATIONS[self.config.mlp][0](self.up)
        return ops.linear(self.h, self.weight["c_proj"])

    def backward(self, df, grads):
        dh, dproj = ops.linear_vjp(self.h, self.weight["c_proj"], df)
        if self.config.mlp == "swiglu":
            dgate, dup = ops.swiglu_vjp(self.gate, self.up, dh)
            cotangents = {"c_fc": dup, "c_gate": dgate}
        else:
            cotangents = {"c_fc": ACTIVATIONS[self.config.mlp][1](self.up, dh)}
        add_layer_grad(grads, self.layer, "mlp.c_proj.weight", dproj)
        dx = 0.0
        for name, cotangent in cotangents.items():
            part, dw = ops.linear_vjp(self.x, self.weight[name], cotangent)
            add_layer_grad(grads, self.layer, f"mlp.{name}.weight", dw)
            dx = dx + part
        return dx


BRANCHES = dict(zip(SUBLAYERS, (Attention, Mlp)))


class NagSublayer:
    """One gated update of the stream (r, s). A routed one computes every token and keeps the executed ones' results."""

    def __init__(self, config, params, layer, kind, gate_scale, dial=None):
        self.branch = BRANCHES[kind](config, params, layer)
        self.layer, self.prefix, self.gate_scale = layer, f"{kind}_branch", gate_scale
        self.gate_weights = [layer_weight(params, layer, f"{self.prefix}.{name}") for name in GATE]
        self.config, self.dial = config, dial

    def forward(self, r, s):
        self.r, self.g = r, ops.modulate(r, *self.gate_weights, self.gate_scale)
        if self.dial is None:
            self.mask = np.ones(self.g.shape, bool)
        else:
            self.mask = ops.executed(self.g, self.config.mod_policy, self.dial)
        self.f = self.branch.forward(r, self.mask if self.config.mod_kv == "routed" else None)
        turned, longer = ops.rotate(r, s, self.f, self.g)
        return np.where(self.mask[..., None], turned, r), np.where(self.mask, longer, s)

    def backward(self, dr_new, ds, grads, dg_aux=0.0):
        mask = self.mask[..., None]
        dr, df, dg = ops.rotate_vjp(self.r, self.f, self.g, np.where(mask, dr_new, 0.0), np.where(self.mask, ds, 0.0))
        dr, df, dg = np.where(mask, dr, dr_new), np.where(mask, df, 0.0), np.where(self.mask, dg, 0.0) + dg_aux
        through_gate, *dweights = ops.modulate_vjp(self.r, *self.gate_weights, dg, self.gate_scale)
        for name, dweight in zip(GATE, dweights):
            add_layer_grad(grads, self.layer, f"{self.prefix}.{name}", dweight)
        return dr + through_gate + self.branch.backward(df, grads), ds


class PrenormSublayer:
    """x + F(rms_norm(x))."""

    def __init__(self, config, params, layer, kind):
        self.branch = BRANCHES[kind](config, params, layer)

    def forward(self, x):
        self.x = x
        return x + self.branch.forward(ops.rms_norm(x))

    def backward(self, dx, grads):
        return dx + ops.rms_norm_vjp(self.x, self.branch.backward(dx, grads))


def dial_of(config, layer, index, thresholds):
    """What decides which tokens a sub-layer executes; None where all are."""
    if not config.routed(layer):
        return None
    return config.mod_rate if config.mod_policy == "capacity" else thresholds[2 * layer + index]


def sublayers(config, params, gate_scale, thresholds):
    for layer in range(config.layers):
        for index, kind in enumerate(SUBLAYERS):
            if config.residual == "nag":
                yield NagSublayer(config, params, layer, kind, gate_scale, dial_of(config, layer, index, thresholds))
            else:
                yield PrenormSublayer(config, params, layer, kind)


class Model:
    """One forward pass; `backward` may follow it."""

    def __init__(self, config, params, tokens, gate_scale=1.0, thresholds=None, aux_weight=0.0):
        self.config, self.params, self.tokens = config, params, tokens
        # Thresholds are those of full gates.
        self.thresholds = None if thresholds is None else gate_scale * np.asarray(thresholds)
        self.aux_weight = aux_weight
        self.chain = list(sublayers(config, params, gate_scale, self.thresholds))
        self.x = ops.embedding(tokens, params["transformer.wte.weight"])
        self.nag = config.residual == "nag"
        state = ops.encode(self.x, params["g_log_encode"]) if self.nag else (self.x,)
        for sublayer in self.chain:
            state = sublayer.forward(*state)
            state = state if self.nag else (state,)
        self.state = state
        self.logits = self.head()

    def head(self):
        weight = self.params["lm_head.weight"]
        return ops.decode(*self.state, weight) if self.nag else ops.linear(ops.rms_norm(*self.state), weight)

    def loss(self, targets):
        return ops.cross_entropy(self.logits, targets, self.config.vocab) + self.aux_weight * self.auxiliary_loss()

    def routed(self):
        """(number, sub-layer) of the routed ones."""
        return [(i, x) for i, x in enumerate(self.chain) if getattr(x, "dial", None) is not None]

    def soft_skip(self, index, sublayer):
        return ops.soft_skip(sublayer.g, self.thresholds[index], self.config.mod_temperature)

    def auxiliary_loss(self):
        """The mean over the routed sub-layers of (soft share of skipping tokens - rate)^2."""
        if self.aux_weight == 0.0:
            return 0.0
        return np.mean([(self.soft_skip(*x) - self.config.mod_rate) ** 2 for x in self.routed()])

    def auxiliary_gate_grad(self, index, sublayer):
        if self.aux_weight == 0.0 or sublayer.dial is None:
            return 0.0
        dshare = 2.0 * (self.soft_skip(index, sublayer) - self.config.mod_rate) * self.aux_weight / len(self.routed())
        return ops.soft_skip_vjp(sublayer.g, self.thresholds[index], dshare, self.config.mod_temperature)

    def offsets(self):
        """[sub-layers, B + 1]: how many tokens were executed, sequence after sequence."""
        counts = [np.cumsum(sublayer.mask.sum(axis=-1)) for sublayer in self.chain]
        return np.stack([np.concatenate([[0], c]) for c in counts]).astype(np.int32)

    def gates(self):
        """[sub-layers, B, T]."""
        return np.stack([sublayer.g for sublayer in self.chain])

    def backward(self, targets, dloss=1.0):
        grads = {name: np.zeros(np.shape(value)) for name, value in self.params.items()}
        dlogits = ops.cross_entropy_vjp(self.logits, targets, dloss, self.config.vocab)
        dx = (self.nag_backward if self.nag else self.prenorm_backward)(dlogits, grads)
        table = "transformer.wte.weight"
        grads[table] += ops.embedding_vjp(self.tokens, dx, len(self.params[table]))
        return grads

    def nag_backward(self, dlogits, grads):
        dr, ds, dweight = ops.decode_vjp(*self.state, self.params["lm_head.weight"], dlogits)
        grads["lm_head.weight"] += dweight
        for index, sublayer in reversed(list(enumerate(self.chain))):
            dr, ds = sublayer.backward(dr, ds, grads, self.auxiliary_gate_grad(index, sublayer))
        dx, grads["g_log_encode"] = ops.encode_vjp(self.x, dr, ds)
        return dx

    def prenorm_backward(self, dlogits, grads):
        (x,) = self.state
        dy, grads["lm_head.weight"] = ops.linear_vjp(ops.rms_norm(x), self.params["lm_head.weight"], dlogits)
        dx = ops.rms_norm_vjp(x, dy)
        for sublayer in reversed(self.chain):
            dx = sublayer.backward(dx, grads)
        return dx


def constrained(config_parameters, params):
    """The parameters with section 6's constraints restored."""
    return {p.name: ops.constrain(params[p.name], p.constraint) for p in config_parameters}

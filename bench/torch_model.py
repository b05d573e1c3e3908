# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The NAG transformer and its pre-norm baseline in PyTorch: the peer for speed and memory on a GPU.

As a user would write them: matrix products and attention in bf16 (autocast, flash attention), weights, stream, losses and
optimizer in f32, AdamW fused. The layer and the head are under torch.compile, each once for all layers: whole models take minutes.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test" / "Reference"))

from nag_reference.config import GROUPS, initial_values, parameters  # noqa: E402

EPS = 2.0**-23
GATE_FLOOR = 1e-6
STACKED = "transformer.h.{layer}."


def rms_norm(x):
    return F.rms_norm(x, x.shape[-1:], eps=EPS)


def rotary(x, table):
    """`x` is [B, T, heads, hd]."""
    (cos, sin), (x1, x2) = table, x.chunk(2, dim=-1)
    return torch.cat([x1 * cos + x2 * sin, -x1 * sin + x2 * cos], dim=-1)


def rotate(r, s, f, g):
    f = f.float()
    c = f - f.mean(-1, keepdim=True)
    k = (c * r).sum(-1, keepdim=True) / (r * r).sum(-1, keepdim=True)
    return rms_norm(r + g.unsqueeze(-1) * rms_norm(c - k * r)), s + 0.5 * torch.log1p(g * g)


class Transformer(nn.Module):
    def __init__(self, config, seed=0, device="cuda"):
        super().__init__()
        self.config = config
        values = {name: torch.tensor(value, dtype=torch.float32, device=device)
                  for name, value in initial_values(config, seed).items()}
        self.groups, self.layers, self.top = {}, [], {}
        layers = [{} for _ in range(config.layers)]
        for p in parameters(config):
            pieces = values[p.name].unbind(0) if p.name.startswith(STACKED) else [values[p.name]]
            for layer, piece in enumerate(pieces):
                parameter = nn.Parameter(piece.clone())
                self.groups.setdefault(p.group, []).append(parameter)
                self.register_parameter(p.name.replace("{layer}", str(layer)).replace(".", "_"), parameter)
                if p.name.startswith(STACKED):
                    layers[layer][p.name.removeprefix(STACKED)] = parameter
                else:
                    self.top[p.name] = parameter
        self.layers = layers
        frequency = config.rotary_base ** (-2.0 * torch.arange(config.head_dim // 2, device=device) / config.head_dim)
        angle = torch.arange(config.seq, device=device)[:, None] * frequency
        self.table = tuple(x[:, None, :] for x in (angle.cos(), angle.sin()))

        self.run_layer = torch.compile(self.layer, dynamic=False)
        self.run_head = torch.compile(self.head, dynamic=False)

    def attention(self, w, x):
        c, (b, t, _) = self.config, x.shape
        q, k, v = (F.linear(x, w[f"attn.{n}.weight"]).view(b, t, -1, c.head_dim) for n in ("c_q", "c_k", "c_v"))
        q, k = (c.qk_scale * rms_norm(rotary(y.float(), self.table)) for y in (q, k))
        heads = [y.to(v.dtype).transpose(1, 2) for y in (q, k, v)]
        out = F.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=c.kv_heads < c.heads)
        return F.linear(out.transpose(1, 2).reshape(b, t, -1), w["attn.c_proj.weight"])

    def mlp(self, w, x):
        return F.linear(F.relu(F.linear(x, w["mlp.c_fc.weight"])).square(), w["mlp.c_proj.weight"])

    def gate(self, w, kind, r, gate_scale):
        weight, bias, coef, beta, alpha = (w[f"{kind}_branch.{n}"]
                                           for n in ("m_down.weight", "m_down.bias", "coef", "beta", "alpha"))
        z = torch.sigmoid(F.linear(r, weight).float() + bias)
        return gate_scale * alpha * (z @ coef.softmax(0)).clamp_min(GATE_FLOOR) ** F.softplus(beta)

    def layer(self, w, r, s, gate_scale):
        for kind, branch in (("attn", self.attention), ("mlp", self.mlp)):
            if self.config.residual == "prenorm":
                r = r + branch(w, rms_norm(r))
            else:
                r, s = rotate(r, s, branch(w, r), self.gate(w, kind, r, gate_scale))
        return r, s

    def head(self, r, s, weight, targets):
        if self.config.residual == "prenorm":
            logits = F.linear(rms_norm(r), weight).float()
        else:
            logits = F.linear(r, weight).float() * (s.exp() / self.config.width).unsqueeze(-1)
        return F.cross_entropy(logits[..., :self.config.vocab].flatten(0, 1), targets.flatten())

    def forward(self, tokens, targets, gate_scale=1.0):
        with torch.autocast("cuda", torch.bfloat16):
            r, s = self.top["transformer.wte.weight"][tokens], None
            if self.config.residual == "nag":
                rho = r.square().mean(-1).sqrt()
                r, s = r / rho.unsqueeze(-1), rho.log() + self.top["g_log_encode"]
            for w in self.layers:
                r, s = self.run_layer(w, r, s, gate_scale)
            return self.run_head(r, s, self.top["lm_head.weight"], targets)


def make_optimizer(model, lr):
    groups = [{"params": params, "lr": lr * GROUPS[name]} for name, params in model.groups.items()]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

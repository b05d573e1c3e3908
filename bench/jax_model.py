# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The NAG transformer and its pre-norm baseline in JAX, float32: the peer for parity, speed and memory.

Parameters are a dictionary from names to arrays. With `scan`, layers are stacked along the first axis under the names
of the dialect (`transformer.h.{layer}.`) and run as a scan; without, each layer has arrays of its own and is unrolled.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test" / "Reference"))

from nag_reference.config import GROUPS, parameters  # noqa: E402

EPS = 2.0**-23
GATE_FLOOR = 1e-6


def layer_prefix(layer):
    return f"transformer.h.{layer}."


STACKED = layer_prefix("{layer}")


def parameter_table(config, scan=True):
    """The model's parameters; without `scan`, one entry per layer."""
    table = []
    for p in parameters(config):
        if scan or not p.name.startswith(STACKED):
            table.append(p)
        else:
            table += [replace(p, name=p.name.replace("{layer}", str(i)), shape=p.shape[1:])
                      for i in range(config.layers)]
    return table


def unstack(config, params):
    """Stacked parameters as one entry per layer."""
    result = {name: x for name, x in params.items() if not name.startswith(STACKED)}
    for name in params.keys() - result.keys():
        result |= {name.replace("{layer}", str(i)): params[name][i] for i in range(config.layers)}
    return result


def rms_norm(x, eps=EPS):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps)


def rotary_table(config, length):
    frequency = config.rotary_base ** (-2.0 * jnp.arange(config.head_dim // 2) / config.head_dim)
    angle = jnp.arange(length)[:, None] * frequency
    return jnp.cos(angle)[:, None, :], jnp.sin(angle)[:, None, :]


def rotary(x, table):
    """`x` is [B, T, heads, hd]."""
    (cos, sin), (x1, x2) = table, jnp.split(x, 2, axis=-1)
    return jnp.concatenate([x1 * cos + x2 * sin, -x1 * sin + x2 * cos], axis=-1)


def attention_mask(length, window):
    t, j = jnp.arange(length)[:, None], jnp.arange(length)[None, :]
    return (j <= t) if window is None else (j <= t) & (t - j <= window)


def attention(config, w, x):
    b, t, _ = x.shape
    table = rotary_table(config, t)
    q, k, v = ((x @ w[f"attn.{n}.weight"].T).reshape(b, t, -1, config.head_dim) for n in ("c_q", "c_k", "c_v"))
    q, k = (config.qk_scale * rms_norm(rotary(y, table)) for y in (q, k))
    k, v = (jnp.repeat(y, config.heads // config.kv_heads, axis=2) for y in (k, v))
    scores = jnp.einsum("bthd,bshd->bhts", q, k) * config.head_dim**-0.5
    p = jax.nn.softmax(jnp.where(attention_mask(t, config.window), scores, -jnp.inf), axis=-1)
    return jnp.einsum("bhts,bshd->bthd", p, v).reshape(b, t, -1) @ w["attn.c_proj.weight"].T


def mlp(config, w, x):
    up = x @ w["mlp.c_fc.weight"].T
    if config.mlp == "relu2":
        h = jnp.square(jax.nn.relu(up))
    elif config.mlp == "swiglu":
        h = jax.nn.silu(x @ w["mlp.c_gate.weight"].T) * up
    else:
        h = jax.nn.gelu(up, approximate=config.mlp == "gelu_tanh")
    return h @ w["mlp.c_proj.weight"].T


BRANCHES = {"attn": attention, "mlp": mlp}


def modulate(w, kind, r, gate_scale):
    weight, bias, coef, beta, alpha = (w[f"{kind}_branch.{n}"]
                                       for n in ("m_down.weight", "m_down.bias", "coef", "beta", "alpha"))
    q = jnp.maximum(jax.nn.sigmoid(r @ weight.T + bias) @ jax.nn.softmax(coef), GATE_FLOOR)
    return gate_scale * alpha * q ** jax.nn.softplus(beta)


def rotate(r, s, f, g):
    c = f - jnp.mean(f, axis=-1, keepdims=True)
    k = jnp.sum(c * r, axis=-1, keepdims=True) / jnp.sum(r * r, axis=-1, keepdims=True)
    return rms_norm(r + g[..., None] * rms_norm(c - k * r)), s + 0.5 * jnp.log1p(g * g)


def nag_layer(config, gate_scale, state, w):
    gates = []
    for kind, branch in BRANCHES.items():
        r, s = state
        gates.append(modulate(w, kind, r, gate_scale))
        state = rotate(r, s, branch(config, w, r), gates[-1])
    return state, jnp.stack(gates)


def prenorm_layer(config, gate_scale, state, w):
    for branch in BRANCHES.values():
        state = state + branch(config, w, rms_norm(state))
    return state, None


def layer_weights(params, prefix):
    return {name.removeprefix(prefix): x for name, x in params.items() if name.startswith(prefix)}


def run_layers(config, layer, state, params, scan):
    """The last state, and the gates [2L, B, T] where there are any."""
    if scan:
        state, gates = jax.lax.scan(layer, state, layer_weights(params, STACKED))
    else:
        gates = []
        for i in range(config.layers):
            state, g = layer(state, layer_weights(params, layer_prefix(i)))
            gates.append(g)
        gates = None if gates[0] is None else jnp.stack(gates)
    return state, gates if gates is None else gates.reshape(-1, *gates.shape[2:])


def forward(config, params, tokens, gate_scale, scan=True):
    """Logits [B, T, padded vocabulary] and gates [2L, B, T]."""
    x, head = params["transformer.wte.weight"][tokens], params["lm_head.weight"]
    if config.residual == "prenorm":
        x, gates = run_layers(config, partial(prenorm_layer, config, gate_scale), x, params, scan)
        return rms_norm(x) @ head.T, gates
    rho = jnp.sqrt(jnp.mean(x * x, axis=-1))
    state = x / rho[..., None], jnp.log(rho) + params["g_log_encode"]
    (r, s), gates = run_layers(config, partial(nag_layer, config, gate_scale), state, params, scan)
    return r @ head.T * (jnp.exp(s) / config.width)[..., None], gates


def loss(config, params, tokens, targets, gate_scale, scan=True):
    """Mean cross-entropy in nats over the targets that are not -1; and the gates."""
    logits, gates = forward(config, params, tokens, gate_scale, scan)
    logp = jax.nn.log_softmax(logits[..., :config.vocab])
    counted = targets >= 0
    picked = jnp.take_along_axis(logp, jnp.where(counted, targets, 0)[..., None], axis=-1)[..., 0]
    return -jnp.sum(jnp.where(counted, picked, 0.0)) / jnp.maximum(jnp.sum(counted), 1), gates


def constrain(x, kind):
    if kind == "none":
        return x
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    return x if kind == "zero_mean" else x / jnp.sqrt(jnp.mean(x * x, axis=-1, keepdims=True))


def constrain_all(table, params):
    return {p.name: constrain(params[p.name], p.constraint) for p in table}


def adamw(p, m, v, g, lr, step, weight_decay, beta1, beta2, eps=1e-8):
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    update = m / (1.0 - beta1**step) / (jnp.sqrt(v / (1.0 - beta2**step)) + eps)
    return p - lr * (update + weight_decay * p), m, v


def apply(table, params, moments, grads, lr, step, weight_decay=0.0, betas=(0.9, 0.95), clip=1.0):
    """Clipping, AdamW by groups, constraints. Weight decay reaches the matrices only."""
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in grads.values()))
    factor = jnp.minimum(1.0, clip / norm)
    new_params, new_moments = {}, {}
    for p in table:
        decay = weight_decay if p.group == "matrix" else 0.0
        value, *both = adamw(params[p.name], *moments[p.name], factor * grads[p.name],
                             GROUPS[p.group] * lr, step, decay, *betas)
        new_moments[p.name] = tuple(both)
        new_params[p.name] = constrain(value, p.constraint)
    return new_params, new_moments, norm


def train_step(config, scan, options, params, moments, tokens, targets, gate_scale, lr, step):
    """One step: parameters, moments, loss, gates [2L, B, T], norm of the gradients."""
    objective = partial(loss, config, tokens=tokens, targets=targets, gate_scale=gate_scale, scan=scan)
    (value, gates), grads = jax.value_and_grad(objective, has_aux=True)(params)
    params, moments, norm = apply(parameter_table(config, scan), params, moments, grads, lr, step, **options)
    return params, moments, value, gates, norm


def compiled_train_step(config, scan, **options):
    return jax.jit(partial(train_step, config, scan, options), donate_argnums=(0, 1))

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Slow, plain float64 references of every op of the nag dialect and of its vector-Jacobian product.

One function per op, written from the formulas and nothing else; `op` is the forward function and `op_vjp` takes the
forward operands and the results' cotangents. Rows are the last dimension of every array.
"""

from .attention import attention, attention_vjp, rotary, rotary_table, rotary_vjp
from .check import central_difference, relative_error
from .dense import (embedding, embedding_vjp, gain, gain_vjp, gelu, gelu_vjp, linear, linear_vjp, relu2, relu2_vjp,
                    inverse_rms, rms_norm, rms_norm_vjp, swiglu, swiglu_vjp, weight_grad)
from .routing import (executed, kept, put, quantile, rotary_at, route, routed_attention, routed_attention_vjp, soft_skip,
                      soft_skip_vjp, take)
from .stream import (EPS, decode, decode_vjp, encode, encode_vjp, gate, gate_vjp, modulate, modulate_vjp, rotate,
                     rotate_vjp, softmax, softmax_vjp, temper, temper_vjp)
from .training import (adamw, clip_factor, constrain, cross_entropy, cross_entropy_vjp, global_norm, head_loss,
                       head_loss_vjp, masked_mean, masked_mean_vjp, squared_norm, token_loss, token_loss_vjp)

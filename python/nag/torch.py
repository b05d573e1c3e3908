# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The NAG residual in PyTorch: autograd functions and modules on kernels that the compiler makes.

    residual = nag.torch.NagResidual(width, index=1)      # one per sub-layer, counted from 1
    stream = nag.torch.encode(embedding)
    stream, gate = residual(stream, attention(stream.direction))

`RoutedNagResidual` lets tokens with small gates skip the branch. Tensors are f32, or f64 on the CPU, and are read and
written in place, without copies. On a GPU the kernels are the compiler's PTX and run on torch's current stream, without
waiting. The ops are opaque to torch.compile, pass gradcheck in f64, and compile once per number of rows, width, type and
device. Second derivatives and forward mode are not defined.
"""

from __future__ import annotations

import math
from typing import Any, Callable, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from . import _torch_ops as ops

#: e of rms_e; the compiler's default.
EPS = 2.0 ** -23


class Stream(NamedTuple):
    """A residual stream: the direction r [..., width], rows of rms 1, and the log-norm s [...]."""

    direction: Tensor
    log_norm: Tensor


def _refuse_tangents(*tensors: Tensor) -> None:
    """torch takes the tangents that come out of an opaque op to be zero: no result is better than a wrong one."""
    if not torch.compiler.is_compiling() and any(forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        ops.fail("nag.torch", "no tangent, as there is no forward mode", "one")


def rotate(stream: Stream, branch: Tensor, gate: Tensor, eps: float = EPS) -> Stream:
    """Turns a stream towards a branch by the angle atan(gate) per row (eq. 10-17)."""
    _refuse_tangents(*stream, branch, gate)
    return Stream(*ops.rotate(stream[0], stream[1], branch, gate, eps))


def update(stream: Stream, branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor,
           eps: float = EPS) -> tuple[Stream, Tensor]:
    """The whole update: the gate from the direction (eq. 13), then the rotation. Returns the stream and the gate."""
    _refuse_tangents(*stream, branch, weight, bias, coef, beta, alpha)
    direction, log_norm, gate = ops.update(stream[0], stream[1], branch, weight, bias, coef, beta, alpha, eps)
    return Stream(direction, log_norm), gate


def modulate(direction: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor) -> Tensor:
    """The gate of every row (eq. 13)."""
    _refuse_tangents(direction, weight, bias, coef, beta, alpha)
    return ops.modulate(direction, weight, bias, coef, beta, alpha, EPS)


def choose(gate: Tensor, rate: float) -> Tensor:
    """The tokens of each sequence that a capacity executes: of gate [..., T] the T - floor(rate * T) largest |g|, of equals
    the earlier, as positions [..., K] in their order."""
    if not 0 <= rate < 1:
        ops.fail("rate", "a number in [0, 1)", rate)
    kept = gate.shape[-1] - int(rate * gate.shape[-1])
    order = gate.detach().abs().sort(dim=-1, descending=True, stable=True).indices
    return order[..., :kept].sort(-1).values


def take(stream: Stream, positions: Tensor) -> Stream:
    """The rows of a stream [..., T] at positions [..., K] of each sequence."""
    rows = positions.unsqueeze(-1).expand(*positions.shape, stream[0].shape[-1])
    return Stream(stream[0].gather(-2, rows), stream[1].gather(-1, positions))


def put(stream: Stream, part: Stream, positions: Tensor) -> Stream:
    """A stream with the rows at these positions replaced; all others stay bit for bit. Differentiable in both streams."""
    rows = positions.unsqueeze(-1).expand(*positions.shape, stream[0].shape[-1])
    return Stream(stream[0].scatter(-2, rows, part[0]), stream[1].scatter(-1, positions, part[1]))


def encode(rows: Tensor, gain: Tensor | float = 0.0) -> Stream:
    """A stream from embedding rows (eq. 3-5), which must not be zero."""
    rms = rows.square().mean(-1, keepdim=True).sqrt()
    return Stream(rows / rms, rms.squeeze(-1).log() + gain)


def decode(stream: Stream, weight: Tensor) -> Tensor:
    """Logits (eq. 18): cosines with the unembedding's rows, times an inverse temperature per row."""
    return stream[0] @ weight.t() / stream[0].shape[-1] * stream[1].exp().unsqueeze(-1)


class NagResidual(nn.Module):
    """The update of one sub-layer with its gate. `index` counts sub-layers from 1: alpha starts at index ** -0.5.

    The state has the names of the public checkpoints: m_down.weight, m_down.bias, coef, beta, alpha. `scale` multiplies
    alpha: raise it from 0 to 1 over the first steps of training, and train these parameters at about a tenth of the
    learning rate of matrices.
    """

    def __init__(self, width: int, index: int = 1, directions: int = 32, eps: float = EPS,
                 dtype: torch.dtype = torch.float32):
        super().__init__()
        for name, number in (("width", width), ("index", index), ("directions", directions)):
            if number < 1:
                ops.fail(name, "1 or more", number)
        self.eps, self.scale = eps, 1.0
        self.m_down = nn.Linear(width, directions, dtype=dtype)
        bound = (3 / width) ** 0.5
        nn.init.uniform_(self.m_down.weight, -bound, bound)
        nn.init.zeros_(self.m_down.bias)
        self.coef = nn.Parameter(torch.zeros(directions, dtype=dtype))
        self.beta = nn.Parameter(torch.tensor(1.0, dtype=dtype).expm1().log())
        self.alpha = nn.Parameter(torch.tensor(index ** -0.5, dtype=dtype))

    def forward(self, stream: Stream, branch: Tensor) -> tuple[Stream, Tensor]:
        """The stream turned towards the branch, and the gate of every row."""
        return update(stream, branch, self.m_down.weight, self.m_down.bias, self.coef, self.beta, self.alpha * self.scale,
                      self.eps)


class RoutedNagResidual(NagResidual):
    """An update that some tokens skip (Mixture-of-Depths by the gate): of each sequence of T tokens the T - floor(rate * T)
    with the largest |gate| execute the branch, the others keep direction and log-norm bit for bit.

    The branch is a function of the executed rows [..., K, width] and their positions [..., K] in the sequence, for it sees
    only these. With threshold=tau, the tokens with |gate| >= tau execute, whatever comes after them (as when generating):
    the rows of all sequences then come as one [M, width], with positions [M] and the number of the sequence in front,
    [M, 2] for inputs of shape [B, T]. Selecting tokens, taking their rows, turning them and putting them back are kernels of
    the compiler: rows that skip are copied to the result and not computed on. The number of rows above a threshold is read
    back from a GPU.
    """

    def __init__(self, width: int, index: int = 1, rate: float = 0.0, threshold: float | None = None, **options: Any):
        super().__init__(width, index, **options)
        if not 0 <= rate < 1:
            ops.fail("rate", "a number in [0, 1)", rate)
        if threshold is not None and math.isnan(threshold):
            ops.fail("threshold", "a number", threshold)
        self.rate, self.threshold = rate, threshold

    def forward(self, stream: Stream, branch: Callable[[Tensor, Tensor], Tensor]) -> tuple[Stream, Tensor]:
        """The stream with the executed rows turned towards the branch, and the gate of every row."""
        if stream[0].dim() < 2:
            ops.fail("direction", "[..., T, width]", list(stream[0].shape))
        gate = modulate(stream[0], self.m_down.weight, self.m_down.bias, self.coef, self.beta, self.alpha * self.scale)
        if not gate.numel():
            return Stream(*stream), gate
        by = self._by_capacity if self.threshold is None else self._by_threshold
        return by(stream, branch, gate), gate

    def _by_capacity(self, stream: Stream, branch: Callable[[Tensor, Tensor], Tensor], gate: Tensor) -> Stream:
        indices, offsets = ops.route(gate.detach(), float(self.rate))
        rows = ops.take(stream[0], indices, offsets, 0.0)
        positions = (indices % gate.shape[-1]).long().view(*gate.shape[:-1], -1)
        rows = rows.view(*positions.shape, rows.shape[-1])
        out = _check_branch(branch(rows, positions), rows).flatten(0, -2)
        _refuse_tangents(*stream, out)
        return Stream(*ops.rotate_part(stream[0], stream[1], out, gate, indices, offsets, self.eps))

    def _by_threshold(self, stream: Stream, branch: Callable[[Tensor, Tensor], Tensor], gate: Tensor) -> Stream:
        """The kernels have room for all tokens' rows, of which the first `count` are meant."""
        indices, offsets = ops.route_above(gate.detach(), gate.new_tensor(self.threshold))
        count = int(offsets[-1])
        if not count:
            return Stream(*stream)
        rows = ops.take(stream[0], indices, offsets, 0.0)[:count]
        where = torch.stack(torch.unravel_index(indices[:count].long(), gate.shape), -1)
        out = nn.functional.pad(_check_branch(branch(rows, where), rows), (0, 0, 0, len(indices) - count))
        _refuse_tangents(*stream, out)
        return Stream(*ops.rotate_part(stream[0], stream[1], out, gate, indices, offsets, self.eps))


def _check_branch(out: Tensor, rows: Tensor) -> Tensor:
    if out.shape != rows.shape:
        ops.fail("branch", list(rows.shape), list(out.shape))
    return out

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The NAG residual in PyTorch: autograd functions and modules on kernels that the compiler makes.

    residual = nag.torch.NagResidual(width, index=1)      # one per sub-layer, counted from 1
    stream = nag.torch.encode(embedding)
    stream, gate = residual(stream, attention(stream.direction))

Tensors are f32, or f64 on the CPU, and are read and written in place, without copies. On a GPU the kernels are the
compiler's PTX and run on torch's current stream, without waiting. The ops are opaque to torch.compile, pass gradcheck in
f64, and compile once per number of rows, width, type and device. Second derivatives are not defined.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ._errors import ArgumentError
from .model import Model
from .program import Program

#: e of rms_e; the compiler's default.
EPS = 2.0 ** -23
_TYPES = {torch.float32: "f32", torch.float64: "f64"}
#: The types of tensors that each kind of device takes; its kinds are the compiler's targets.
_TARGETS = {"cpu": (torch.float32, torch.float64), "cuda": (torch.float32,)}


class Stream(NamedTuple):
    """A residual stream: the direction r [..., width], rows of rms 1, and the log-norm s [...]."""

    direction: Tensor
    log_norm: Tensor


#===- Kernels -------------------------------------------------------------===#

_MODULATE = """
  %gate = nag.modulate %direction gate(%weight, %bias, %coef, %beta, %alpha)
      : ({rows}, {matrix}, {vector}, {vector}, {scalar}, {scalar}) -> {lane}"""
_ROTATE = """
  %x = nag.make_stream %direction, %log_norm : {stream}
  %y = nag.rotate %x, %branch, %gate {{eps = {eps!r} : f64}} : ({stream}, {rows}, {lane}) -> {stream}
  %r = nag.direction %y : {stream}
  %s = nag.log_norm %y : {stream}
"""
_INPUTS = {"direction": "rows", "log_norm": "lane", "branch": "rows"}
_GATE_INPUTS = {"weight": "matrix", "bias": "vector", "coef": "vector", "beta": "scalar", "alpha": "scalar"}


def _rotate_text(rows: int, width: int, directions: int, element: str, eps: float, gated: bool) -> str:
    """A module with one function, @f, that returns r and s, and the gate where it computes it."""
    types = {"stream": f"!nag.stream<1x{rows}x{width}x{element}>", "rows": f"tensor<1x{rows}x{width}x{element}>",
             "lane": f"tensor<1x{rows}x{element}>", "matrix": f"tensor<{directions}x{width}x{element}>",
             "vector": f"tensor<{directions}x{element}>", "scalar": f"tensor<{element}>"}
    inputs = _INPUTS | (_GATE_INPUTS if gated else {"gate": "lane"})
    results = {"r": "rows", "s": "lane"} | ({"gate": "lane"} if gated else {})
    signature = ", ".join(f'%{name}: {types[kind]} {{nag.name = "{name}"}}' for name, kind in inputs.items())
    returned = ", ".join(f'{types[kind]} {{nag.name = "out:{name}"}}' for name, kind in results.items())
    body = ((_MODULATE if gated else "") + _ROTATE).format(eps=eps, **types)
    values, kinds = ", ".join(f"%{name}" for name in results), ", ".join(types[kind] for kind in results.values())
    return f"func.func @f({signature}) -> ({returned}) {{{body}  return {values} : {kinds}\n}}\n"


@lru_cache(maxsize=256)
def _program(rows: int, width: int, directions: int, element: str, eps: float, gated: bool, target: str,
             device: str) -> Program:
    text = _rotate_text(rows, width, directions, element, eps, gated)
    return Model.from_text(text, "nag.torch").compile(differentiate="f", recompute="all", target=target, device=device)


def _place(tensor: Tensor) -> tuple[str, str, int | None]:
    """The target, device and stream on which the kernels run: those of the tensor."""
    if tensor.device.type == "cpu":
        return "cpu", "", None
    return "cuda", str(tensor.device.index), torch.cuda.current_stream(tensor.device).cuda_stream


def _check(direction: Tensor, log_norm: Tensor, branch: Tensor, **others: Tensor) -> None:
    """Says in one line what does not fit."""
    def fail(name: str, expected: object, actual: object) -> None:
        raise ArgumentError(f"{name}: expected {expected}, but got {actual}")

    if direction.device.type not in _TARGETS:
        fail("direction", f"a tensor on {' or '.join(_TARGETS)}", f"one on {direction.device}")
    types = _TARGETS[direction.device.type]
    if direction.dtype not in types:
        names = " or ".join(str(t).removeprefix("torch.") for t in types)
        fail("direction", f"{names} on {direction.device.type}", direction.dtype)
    if direction.dim() < 1:
        fail("direction", "[..., width]", list(direction.shape))
    shapes = {"log_norm": (log_norm, direction.shape[:-1]), "branch": (branch, direction.shape)}
    if "gate" in others:
        shapes["gate"] = (others["gate"], direction.shape[:-1])
    if "weight" in others:
        weight = others["weight"]
        if weight.dim() != 2 or weight.shape[1] != direction.shape[-1]:
            fail("weight", f"[directions, {direction.shape[-1]}]", list(weight.shape))
        shapes |= {name: (others[name], weight.shape[:1]) for name in ("bias", "coef")}
        shapes |= {name: (others[name], torch.Size()) for name in ("beta", "alpha")}
    for name, (tensor, shape) in shapes.items():
        if tensor.shape != shape:
            fail(name, list(shape), list(tensor.shape))
    for name, tensor in {"log_norm": log_norm, "branch": branch, **others}.items():
        if tensor.dtype != direction.dtype or tensor.device != direction.device:
            fail(name, f"{direction.dtype} on {direction.device} as the direction", f"{tensor.dtype} on {tensor.device}")


def _run(suffix: str, tensors: dict[str, Tensor], outputs: dict[str, Tensor], eps: float) -> None:
    """Calls @f or its gradients on tensors, in place."""
    direction = tensors["direction"]
    width, gated = direction.shape[-1], "weight" in tensors
    directions = tensors["weight"].shape[0] if gated else 0
    target, device, stream = _place(direction)
    program = _program(direction.numel() // width, width, directions, _TYPES[direction.dtype], eps, gated, target, device)
    function = program.function("f" + suffix)
    shapes = {a.name: a.shape for a in function.arguments}
    dense = {name: t.detach().contiguous().view(shapes[name]) for name, t in tensors.items()}
    function.bind(**dense, **{name: t.view(shapes[name]) for name, t in outputs.items()})(stream)


def _empty(tensors: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    return {prefix + name: torch.empty(t.shape, dtype=t.dtype, device=t.device) for name, t in tensors.items()}


def _named(gated: bool, tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return dict(zip([*_INPUTS, *(_GATE_INPUTS if gated else ["gate"])], tensors))


def _forward(gated: bool, inputs: tuple[Tensor, ...], eps: float) -> list[Tensor]:
    named = _named(gated, inputs)
    _check(*inputs[:3], **{k: v for k, v in list(named.items())[3:]})
    outputs = _empty({"out:r": inputs[0], "out:s": inputs[1], **({"out:gate": inputs[1]} if gated else {})})
    if inputs[0].numel():
        _run("", named, outputs, eps)
    return list(outputs.values())


def _backward(gated: bool, grads: tuple[Tensor, ...], inputs: tuple[Tensor, ...], eps: float) -> list[Tensor]:
    named = _named(gated, inputs)
    outputs = _empty(named, "grad:")
    cotangents = {f"cotangent:{i}": grad for i, grad in enumerate(grads)}
    if inputs[0].numel():
        _run(".gradients", named | cotangents, outputs, eps)
    else:
        [t.zero_() for t in outputs.values()]
    return list(outputs.values())


#===- Ops -----------------------------------------------------------------===#

@torch.library.custom_op("nag::rotate", mutates_args=())
def _rotate(direction: Tensor, log_norm: Tensor, branch: Tensor, gate: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return tuple(_forward(False, (direction, log_norm, branch, gate), eps))


@torch.library.custom_op("nag::rotate_backward", mutates_args=())
def _rotate_backward(grad_direction: Tensor, grad_log_norm: Tensor, direction: Tensor, log_norm: Tensor, branch: Tensor,
                     gate: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return tuple(_backward(False, (grad_direction, grad_log_norm), (direction, log_norm, branch, gate), eps))


@torch.library.custom_op("nag::update", mutates_args=())
def _update(direction: Tensor, log_norm: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor,
            alpha: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(_forward(True, (direction, log_norm, branch, weight, bias, coef, beta, alpha), eps))


@torch.library.custom_op("nag::update_backward", mutates_args=())
def _update_backward(
        grad_direction: Tensor, grad_log_norm: Tensor, grad_gate: Tensor, direction: Tensor, log_norm: Tensor,
        branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return tuple(_backward(True, (grad_direction, grad_log_norm, grad_gate),
                           (direction, log_norm, branch, weight, bias, coef, beta, alpha), eps))


def _like(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in tensors)


_rotate.register_fake(lambda r, s, f, g, eps: _like(r, s))
_rotate_backward.register_fake(lambda gr, gs, r, s, f, g, eps: _like(r, s, f, g))
_update.register_fake(lambda r, s, f, *rest: _like(r, s, s))
_update_backward.register_fake(lambda gr, gs, gg, *inputs: _like(*inputs[:-1]))


def _save(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:-1])
    ctx.eps = inputs[-1]


def _apply(backward):
    return lambda ctx, *grads: (*backward(*grads, *ctx.saved_tensors, ctx.eps), None)


_rotate.register_autograd(_apply(_rotate_backward), setup_context=_save)
_update.register_autograd(_apply(_update_backward), setup_context=_save)


#===- What users call -----------------------------------------------------===#

def rotate(stream: Stream, branch: Tensor, gate: Tensor, eps: float = EPS) -> Stream:
    """Turns a stream towards a branch by the angle atan(gate) per row (eq. 10-17)."""
    return Stream(*_rotate(stream[0], stream[1], branch, gate, eps))


def update(stream: Stream, branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor,
           eps: float = EPS) -> tuple[Stream, Tensor]:
    """The whole update: the gate from the direction (eq. 13), then the rotation. Returns the stream and the gate."""
    direction, log_norm, gate = _update(stream[0], stream[1], branch, weight, bias, coef, beta, alpha, eps)
    return Stream(direction, log_norm), gate


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

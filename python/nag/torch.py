# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The NAG residual in PyTorch: autograd functions and modules on kernels that the compiler makes.

    residual = nag.torch.NagResidual(width, index=1)      # one per sub-layer, counted from 1
    stream = nag.torch.encode(embedding)
    stream, gate = residual(stream, attention(stream.direction))

`RoutedNagResidual` lets tokens with small gates skip the branch. Tensors are f32, or f64 on the CPU, and are read and written in place, without copies. On a GPU the kernels are the
compiler's PTX and run on torch's current stream, without waiting. The ops are opaque to torch.compile, pass gradcheck in
f64, and compile once per number of rows, width, type and device. Second derivatives are not defined.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, NamedTuple

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
  %s = nag.log_norm %y : {stream}"""
_STREAM = {"direction": "rows", "log_norm": "lane", "branch": "rows"}
_GATE = {"weight": "matrix", "bias": "vector", "coef": "vector", "beta": "scalar", "alpha": "scalar"}
#: The ops: their bodies, inputs and results. A result "r" has the direction's shape, the others the log-norm's.
_OPS = {"rotate": (_ROTATE, _STREAM | {"gate": "lane"}, {"r": "rows", "s": "lane"}),
        "update": (_MODULATE + _ROTATE, _STREAM | _GATE, {"r": "rows", "s": "lane", "gate": "lane"}),
        "modulate": (_MODULATE, {"direction": "rows"} | _GATE, {"gate": "lane"})}


def _text(op: str, rows: int, width: int, directions: int, element: str, eps: float) -> str:
    """A module with one function, @f, that computes the op."""
    types = {"stream": f"!nag.stream<1x{rows}x{width}x{element}>", "rows": f"tensor<1x{rows}x{width}x{element}>",
             "lane": f"tensor<1x{rows}x{element}>", "matrix": f"tensor<{directions}x{width}x{element}>",
             "vector": f"tensor<{directions}x{element}>", "scalar": f"tensor<{element}>"}
    body, inputs, results = _OPS[op]
    signature = ", ".join(f'%{name}: {types[kind]} {{nag.name = "{name}"}}' for name, kind in inputs.items())
    returned = ", ".join(f'{types[kind]} {{nag.name = "out:{name}"}}' for name, kind in results.items())
    values, kinds = ", ".join(f"%{name}" for name in results), ", ".join(types[kind] for kind in results.values())
    return f"func.func @f({signature}) -> ({returned}) {{{body.format(eps=eps, **types)}\n  return {values} : {kinds}\n}}\n"


@lru_cache(maxsize=256)
def _program(op: str, rows: int, width: int, directions: int, element: str, eps: float, target: str, device: str) -> Program:
    model = Model.from_text(_text(op, rows, width, directions, element, eps), "nag.torch")
    return model.compile(differentiate="f", recompute="all", target=target, device=device)


def _place(tensor: Tensor) -> tuple[str, str, int | None]:
    """The target, device and stream on which the kernels run: those of the tensor."""
    if tensor.device.type == "cpu":
        return "cpu", "", None
    return "cuda", str(tensor.device.index), torch.cuda.current_stream(tensor.device).cuda_stream


def _fail(name: str, expected: object, actual: object) -> None:
    raise ArgumentError(f"{name}: expected {expected}, but got {actual}")


def _check(tensors: dict[str, Tensor]) -> None:
    """Says in one line what does not fit the direction."""
    direction = tensors["direction"]
    if direction.device.type not in _TARGETS:
        _fail("direction", f"a tensor on {' or '.join(_TARGETS)}", f"one on {direction.device}")
    types = _TARGETS[direction.device.type]
    if direction.dtype not in types:
        names = " or ".join(str(t).removeprefix("torch.") for t in types)
        _fail("direction", f"{names} on {direction.device.type}", direction.dtype)
    if direction.dim() < 1:
        _fail("direction", "[..., width]", list(direction.shape))
    shapes = {"log_norm": direction.shape[:-1], "branch": direction.shape, "gate": direction.shape[:-1]}
    if "weight" in tensors:
        weight = tensors["weight"]
        if weight.dim() != 2 or weight.shape[1] != direction.shape[-1]:
            _fail("weight", f"[directions, {direction.shape[-1]}]", list(weight.shape))
        shapes |= {"bias": weight.shape[:1], "coef": weight.shape[:1], "beta": torch.Size(), "alpha": torch.Size()}
    for name, tensor in tensors.items():
        if name in shapes and tensor.shape != shapes[name]:
            _fail(name, list(shapes[name]), list(tensor.shape))
    for name, tensor in tensors.items():
        if tensor.dtype != direction.dtype or tensor.device != direction.device:
            _fail(name, f"{direction.dtype} on {direction.device} as the direction", f"{tensor.dtype} on {tensor.device}")


def _run(op: str, suffix: str, tensors: dict[str, Tensor], outputs: dict[str, Tensor], eps: float) -> None:
    """Calls @f or its gradients on tensors, in place."""
    direction = tensors["direction"]
    width, directions = direction.shape[-1], tensors["weight"].shape[0] if "weight" in tensors else 0
    target, device, stream = _place(direction)
    program = _program(op, direction.numel() // width, width, directions, _TYPES[direction.dtype], eps, target, device)
    function = program.function("f" + suffix)
    shapes = {a.name: a.shape for a in function.arguments}
    # What the gradients do not read is no argument of theirs.
    dense = {name: t.detach().contiguous().view(shapes[name]) for name, t in tensors.items() if name in shapes}
    function.bind(**dense, **{name: t.view(shapes[name]) for name, t in outputs.items()})(stream)


def _empty(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: torch.empty(t.shape, dtype=t.dtype, device=t.device) for name, t in tensors.items()}


def _forward(op: str, inputs: tuple[Tensor, ...], eps: float) -> tuple[Tensor, ...]:
    _, names, results = _OPS[op]
    named = dict(zip(names, inputs))
    _check(named)
    lane = named["direction"].select(-1, 0) if named["direction"].shape[-1] else named["direction"].sum(-1)
    outputs = _empty({name: named["direction"] if kind == "rows" else lane for name, kind in results.items()}, "out:")
    if inputs[0].numel():
        _run(op, "", named, outputs, eps)
    return tuple(outputs.values())


def _backward(op: str, grads: tuple[Tensor, ...], inputs: tuple[Tensor, ...], eps: float) -> tuple[Tensor, ...]:
    named = dict(zip(_OPS[op][1], inputs))
    outputs = _empty(named, "grad:")
    cotangents = {f"cotangent:{i}": grad for i, grad in enumerate(grads)}
    if inputs[0].numel():
        _run(op, ".gradients", named | cotangents, outputs, eps)
    else:
        [t.zero_() for t in outputs.values()]
    return tuple(outputs.values())


#===- Ops -----------------------------------------------------------------===#

@torch.library.custom_op("nag::rotate", mutates_args=())
def _rotate(direction: Tensor, log_norm: Tensor, branch: Tensor, gate: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return _forward("rotate", (direction, log_norm, branch, gate), eps)


@torch.library.custom_op("nag::rotate_backward", mutates_args=())
def _rotate_backward(grad_direction: Tensor, grad_log_norm: Tensor, direction: Tensor, log_norm: Tensor, branch: Tensor,
                     gate: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _backward("rotate", (grad_direction, grad_log_norm), (direction, log_norm, branch, gate), eps)


@torch.library.custom_op("nag::update", mutates_args=())
def _update(direction: Tensor, log_norm: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor,
            alpha: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return _forward("update", (direction, log_norm, branch, weight, bias, coef, beta, alpha), eps)


@torch.library.custom_op("nag::update_backward", mutates_args=())
def _update_backward(
        grad_direction: Tensor, grad_log_norm: Tensor, grad_gate: Tensor, direction: Tensor, log_norm: Tensor,
        branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _backward("update", (grad_direction, grad_log_norm, grad_gate),
                     (direction, log_norm, branch, weight, bias, coef, beta, alpha), eps)


@torch.library.custom_op("nag::modulate", mutates_args=())
def _modulate(direction: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor,
              eps: float) -> Tensor:
    return _forward("modulate", (direction, weight, bias, coef, beta, alpha), eps)[0]


@torch.library.custom_op("nag::modulate_backward", mutates_args=())
def _modulate_backward(grad_gate: Tensor, direction: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor,
                       alpha: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _backward("modulate", (grad_gate,), (direction, weight, bias, coef, beta, alpha), eps)


def _like(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in tensors)


_rotate.register_fake(lambda r, s, f, g, eps: _like(r, s))
_rotate_backward.register_fake(lambda gr, gs, r, s, f, g, eps: _like(r, s, f, g))
_update.register_fake(lambda r, s, f, *rest: _like(r, s, s))
_update_backward.register_fake(lambda gr, gs, gg, *inputs: _like(*inputs[:-1]))
_modulate.register_fake(lambda r, *rest: r.new_empty(r.shape[:-1]))
_modulate_backward.register_fake(lambda gg, *inputs: _like(*inputs[:-1]))


def _save(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:-1])
    ctx.eps = inputs[-1]


def _apply(backward):
    return lambda ctx, *grads: (*backward(*grads, *ctx.saved_tensors, ctx.eps), None)


_rotate.register_autograd(_apply(_rotate_backward), setup_context=_save)
_update.register_autograd(_apply(_update_backward), setup_context=_save)
_modulate.register_autograd(_apply(_modulate_backward), setup_context=_save)


#===- What users call -----------------------------------------------------===#

def rotate(stream: Stream, branch: Tensor, gate: Tensor, eps: float = EPS) -> Stream:
    """Turns a stream towards a branch by the angle atan(gate) per row (eq. 10-17)."""
    return Stream(*_rotate(stream[0], stream[1], branch, gate, eps))


def update(stream: Stream, branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor,
           eps: float = EPS) -> tuple[Stream, Tensor]:
    """The whole update: the gate from the direction (eq. 13), then the rotation. Returns the stream and the gate."""
    direction, log_norm, gate = _update(stream[0], stream[1], branch, weight, bias, coef, beta, alpha, eps)
    return Stream(direction, log_norm), gate


def modulate(direction: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor) -> Tensor:
    """The gate of every row (eq. 13)."""
    return _modulate(direction, weight, bias, coef, beta, alpha, EPS)


def choose(gate: Tensor, rate: float) -> Tensor:
    """The tokens of each sequence that a capacity executes: of gate [..., T] the T - floor(rate * T) largest |g|, of equals
    the earlier, as positions [..., K] in their order."""
    if not 0 <= rate < 1:
        _fail("rate", "a number in [0, 1)", rate)
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
    [M, 2] for inputs of shape [B, T].
    """

    def __init__(self, width: int, index: int = 1, rate: float = 0.0, threshold: float | None = None, **options: Any):
        super().__init__(width, index, **options)
        if not 0 <= rate < 1:
            _fail("rate", "a number in [0, 1)", rate)
        self.rate, self.threshold = rate, threshold

    def forward(self, stream: Stream, branch: Callable[[Tensor, Tensor], Tensor]) -> tuple[Stream, Tensor]:
        """The stream with the executed rows turned towards the branch, and the gate of every row."""
        gate = modulate(stream[0], self.m_down.weight, self.m_down.bias, self.coef, self.beta, self.alpha * self.scale)
        if self.threshold is not None:
            return self._by_threshold(stream, branch, gate), gate
        positions = choose(gate, self.rate)
        part = take(stream, positions)
        turned = rotate(part, branch(part.direction, positions), gate.gather(-1, positions), self.eps)
        return put(stream, turned, positions), gate

    def _by_threshold(self, stream: Stream, branch: Callable[[Tensor, Tensor], Tensor], gate: Tensor) -> Stream:
        where = (gate.detach().abs() >= self.threshold).nonzero()
        if not len(where):
            return Stream(*stream)
        index = where.unbind(-1)
        rows, norms = stream[0][index], stream[1][index]
        turned = _rotate_padded(Stream(rows, norms), branch(rows, where), gate[index], gate.numel(), self.eps)
        return Stream(stream[0].index_put(index, turned[0]), stream[1].index_put(index, turned[1]))


def _rotate_padded(stream: Stream, branch: Tensor, gate: Tensor, limit: int, eps: float) -> Stream:
    """rotate on a number of rows that changes from call to call: padded to one of at most 16 numbers, each compiled once."""
    count, step = len(gate), -(-limit // 16)
    extra = -count % step
    pad = lambda t: torch.cat([t, t[:1].detach().expand(extra, *t.shape[1:])])
    turned = rotate(Stream(pad(stream[0]), pad(stream[1])), pad(branch), pad(gate), eps)
    return Stream(turned[0][:count], turned[1][:count])

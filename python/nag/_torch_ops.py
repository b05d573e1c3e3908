# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The ops of nag.torch: modules of the compiler as custom ops of torch, with their gradients.

An op is a text with one function, `@f`, whose inputs and results have a name and a kind; the kind says the shape, in the
program and in torch. Programs are compiled once per op, sizes, type and device.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ._errors import ArgumentError
from .model import Model
from .program import Program

_TYPES = {torch.float32: "f32", torch.float64: "f64"}
#: The types of tensors that each kind of device takes; its kinds are the compiler's targets.
_TARGETS = {"cpu": (torch.float32, torch.float64), "cuda": (torch.float32,)}


class Sizes(NamedTuple):
    """B sequences of T tokens, M rows of executed ones, width D, C directions of a gate."""

    batch: int
    length: int
    executed: int
    width: int
    directions: int


#: A program's shapes by kind. In torch, `rows` are [..., D] and a `lane` is [...]; the others are as here.
_SHAPES = {"rows": lambda n: (n.batch, n.length, n.width), "lane": lambda n: (n.batch, n.length),
           "part": lambda n: (n.executed, n.width), "part_lane": lambda n: (n.executed,),
           "list": lambda n: (n.executed,), "ends": lambda n: (n.batch + 1,),
           "matrix": lambda n: (n.directions, n.width), "vector": lambda n: (n.directions,), "scalar": lambda n: ()}
_INTEGERS = ("list", "ends")


class Op(NamedTuple):
    """The body of @f; its inputs, of which the first is `rows` or a `lane`, and its results by kind."""

    body: str
    inputs: dict[str, str]
    results: dict[str, str]

    @property
    def is_routed(self) -> bool:
        """True where sequences count; other ops see one sequence, so that fewer programs are compiled."""
        return "list" in (*self.inputs.values(), *self.results.values())


_MODULATE = """
  %gate = nag.modulate %direction gate(%weight, %bias, %coef, %beta, %alpha)
      : ({rows}, {matrix}, {vector}, {vector}, {scalar}, {scalar}) -> {lane}"""
_ROTATE = """
  %x = nag.make_stream %direction, %log_norm : {stream}
  %y = nag.rotate %x, %branch, %gate {{eps = {option} : f64}} : ({stream}, {rows}, {lane}) -> {stream}
  %r = nag.direction %y : {stream}
  %s = nag.log_norm %y : {stream}"""
_TAKE = """
  %rows, %rest = nag.take %direction, %indices, %offsets : ({rows}, {list}, {ends}) -> ({part}, {rows})"""
_ROTATE_PART = _TAKE + """
  %norms, %other_norms = nag.take %log_norm, %indices, %offsets : ({lane}, {list}, {ends}) -> ({part_lane}, {lane})
  %gates, %other_gates = nag.take %gate, %indices, %offsets : ({lane}, {list}, {ends}) -> ({part_lane}, {lane})
  %x = nag.make_stream %rows, %norms : {part_stream}
  %y = nag.rotate %x, %branch, %gates {{eps = {option} : f64}} : ({part_stream}, {part}, {part_lane}) -> {part_stream}
  %turned = nag.direction %y : {part_stream}
  %turned_norms = nag.log_norm %y : {part_stream}
  %r = nag.put %turned, %rest, %indices, %offsets : ({part}, {rows}, {list}, {ends}) -> {rows}
  %s = nag.put %turned_norms, %other_norms, %indices, %offsets : ({part_lane}, {lane}, {list}, {ends}) -> {lane}"""
_ROUTE = """
  %indices, %offsets = nag.route %gate {{routing = #nag.routing<capacity, rate = {option}>}} : ({lane}) -> ({list}, {ends})"""
_ROUTE_ABOVE = """
  %indices, %offsets = nag.route %gate dial %threshold {{routing = #nag.routing<threshold>}}
      : ({lane}, {scalar}) -> ({list}, {ends})"""

_STREAM = {"direction": "rows", "log_norm": "lane"}
_GATE = {"weight": "matrix", "bias": "vector", "coef": "vector", "beta": "scalar", "alpha": "scalar"}
_PLACES = {"indices": "list", "offsets": "ends"}
_TURNED = {"r": "rows", "s": "lane"}
OPS = {"rotate": Op(_ROTATE, _STREAM | {"branch": "rows", "gate": "lane"}, _TURNED),
       "update": Op(_MODULATE + _ROTATE, _STREAM | {"branch": "rows"} | _GATE, _TURNED | {"gate": "lane"}),
       "modulate": Op(_MODULATE, {"direction": "rows"} | _GATE, {"gate": "lane"}),
       "take": Op(_TAKE, {"direction": "rows"} | _PLACES, {"rows": "part"}),
       "rotate_part": Op(_ROTATE_PART, _STREAM | {"branch": "part", "gate": "lane"} | _PLACES, _TURNED),
       "route": Op(_ROUTE, {"gate": "lane"}, _PLACES),
       "route_above": Op(_ROUTE_ABOVE, {"gate": "lane", "threshold": "scalar"}, _PLACES)}


#===- Programs ------------------------------------------------------------===#

def text(op: Op, sizes: Sizes, element: str, option: float) -> str:
    """A module with one function, @f, that computes the op. `option` is e of rms_e, or the rate of a capacity."""
    types = {kind: f"tensor<{''.join(f'{n}x' for n in shape(sizes))}{'i32' if kind in _INTEGERS else element}>"
             for kind, shape in _SHAPES.items()}
    for name, kind in (("stream", "rows"), ("part_stream", "part")):
        types[name] = "!nag.stream" + types[kind].removeprefix("tensor")
    signature = ", ".join(f'%{name}: {types[kind]} {{nag.name = "{name}"}}' for name, kind in op.inputs.items())
    returned = ", ".join(f'{types[kind]} {{nag.name = "out:{name}"}}' for name, kind in op.results.items())
    values = ", ".join(f"%{name}" for name in op.results)
    kinds = ", ".join(types[kind] for kind in op.results.values())
    body = op.body.format(option=format(option, ".16e"), **types)  # MLIR's numbers have a point, Python's 1e-05 has none
    return (f"func.func @f({signature}) -> ({returned}) {{{body}\n"
            f"  return {values} : {kinds}\n}}\n")


@lru_cache(maxsize=256)
def program(op: str, sizes: Sizes, element: str, option: float, target: str, device: str) -> Program:
    derivative = "" if OPS[op].results == _PLACES else "f"
    model = Model.from_text(text(OPS[op], sizes, element, option), "nag.torch")
    return model.compile(differentiate=derivative, recompute="all", target=target, device=device)


#===- Calls ---------------------------------------------------------------===#

class Call:
    """An op on tensors: the inputs by name, and the sizes that follow from them."""

    def __init__(self, op: str, inputs: tuple[Tensor, ...], option: float):
        self.name, self.op, self.option = op, OPS[op], option
        self.inputs = dict(zip(self.op.inputs, inputs))
        self.first = inputs[0]
        is_rows = next(iter(self.op.inputs.values())) == "rows"
        self.lead = self.first.shape[:-1] if is_rows else self.first.shape
        tokens = math.prod(self.lead)
        batch, length = (math.prod(self.lead[:-1]), self.lead[-1]) if self.op.is_routed else (1, tokens)
        executed = len(self.inputs["indices"]) if "indices" in self.inputs else tokens
        if op == "route":
            executed = batch * (length - int(option * length))
        weight = self.inputs.get("weight")
        self.sizes = Sizes(batch, length, executed, self.first.shape[-1] if is_rows and self.first.dim() else 0,
                           weight.shape[0] if weight is not None and weight.dim() else 0)

    def shape(self, kind: str) -> tuple[int, ...]:
        """The shape of a tensor of this kind."""
        own = {"rows": (*self.lead, self.sizes.width), "lane": tuple(self.lead)}
        return own[kind] if kind in own else _SHAPES[kind](self.sizes)

    def check(self) -> None:
        """Says in one line what does not fit the first tensor."""
        name, place, dtype = next(iter(self.op.inputs)), self.first.device, self.first.dtype
        if not (math.isfinite(self.option) and self.option >= 0):
            fail("eps", "a finite number of at least 0", self.option)
        if place.type not in _TARGETS:
            fail(name, f"a tensor on {' or '.join(_TARGETS)}", f"one on {place}")
        if dtype not in _TARGETS[place.type]:
            names = " or ".join(str(t).removeprefix("torch.") for t in _TARGETS[place.type])
            fail(name, f"{names} on {place.type}", dtype)
        if self.op.inputs[name] == "rows" and self.first.dim() < 1:
            fail(name, "[..., width]", list(self.first.shape))
        for key, tensor in self.inputs.items():
            kind = self.op.inputs[key]
            if tuple(tensor.shape) != self.shape(kind):
                expected = f"[directions, {self.sizes.width}]" if kind == "matrix" else list(self.shape(kind))
                fail(key, expected, list(tensor.shape))
        for key, tensor in self.inputs.items():
            if self.op.inputs[key] not in _INTEGERS and (tensor.dtype != dtype or tensor.device != place):
                fail(key, f"{dtype} on {place} as the {name}", f"{tensor.dtype} on {tensor.device}")

    def empty(self, kinds: dict[str, str], prefix: str) -> dict[str, Tensor]:
        """New tensors of these kinds."""
        types = {kind: torch.int32 for kind in _INTEGERS}
        return {prefix + name: self.first.new_empty(self.shape(kind), dtype=types.get(kind, self.first.dtype))
                for name, kind in kinds.items()}

    def run(self, function: str, tensors: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
        """Calls @f or its gradients on tensors, in place: on a GPU, on torch's current stream."""
        target, device, stream = "cpu", "", None
        if self.first.device.type != "cpu":
            target, device = "cuda", str(self.first.device.index)
            stream = torch.cuda.current_stream(self.first.device).cuda_stream
        compiled = program(self.name, self.sizes, _TYPES[self.first.dtype], self.option, target, device).function(function)
        shapes = {a.name: a.shape for a in compiled.arguments}
        # What the gradients do not read is no argument of theirs.
        dense = {name: t.detach().contiguous().view(shapes[name]) for name, t in tensors.items() if name in shapes}
        compiled.bind(**dense, **{name: t.view(shapes[name]) for name, t in outputs.items()})(stream)


def fail(name: str, expected: object, actual: object) -> None:
    raise ArgumentError(f"{name}: expected {expected}, but got {actual}")


def forward(op: str, option: float, *inputs: Tensor) -> tuple[Tensor, ...]:
    call = Call(op, inputs, option)
    call.check()
    outputs = call.empty(call.op.results, "out:")
    if call.first.numel():
        call.run("f", call.inputs, outputs)
    return tuple(outputs.values())


def backward(op: str, option: float, grads: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The gradients of the inputs that have one."""
    call = Call(op, inputs, option)
    outputs = call.empty({k: v for k, v in call.op.inputs.items() if v not in _INTEGERS}, "grad:")
    cotangents = {f"cotangent:{i}": grad for i, grad in enumerate(grads)}
    if call.first.numel():
        call.run("f.gradients", call.inputs | cotangents, outputs)
    else:
        [t.zero_() for t in outputs.values()]
    return tuple(outputs.values())


def fake(op: str, option: float, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The results without their values, for torch.compile."""
    call = Call(op, inputs, option)
    return tuple(call.empty(call.op.results, "").values())


#===- Ops of torch --------------------------------------------------------===#

@torch.library.custom_op("nag::rotate", mutates_args=())
def rotate(direction: Tensor, log_norm: Tensor, branch: Tensor, gate: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return forward("rotate", eps, direction, log_norm, branch, gate)


@torch.library.custom_op("nag::rotate_backward", mutates_args=())
def rotate_backward(grad_direction: Tensor, grad_log_norm: Tensor, direction: Tensor, log_norm: Tensor, branch: Tensor,
                    gate: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return backward("rotate", eps, (grad_direction, grad_log_norm), (direction, log_norm, branch, gate))


@torch.library.custom_op("nag::update", mutates_args=())
def update(direction: Tensor, log_norm: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor,
           alpha: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return forward("update", eps, direction, log_norm, branch, weight, bias, coef, beta, alpha)


@torch.library.custom_op("nag::update_backward", mutates_args=())
def update_backward(
        grad_direction: Tensor, grad_log_norm: Tensor, grad_gate: Tensor, direction: Tensor, log_norm: Tensor,
        branch: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return backward("update", eps, (grad_direction, grad_log_norm, grad_gate),
                    (direction, log_norm, branch, weight, bias, coef, beta, alpha))


@torch.library.custom_op("nag::modulate", mutates_args=())
def modulate(direction: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor, alpha: Tensor,
             eps: float) -> Tensor:
    return forward("modulate", eps, direction, weight, bias, coef, beta, alpha)[0]


@torch.library.custom_op("nag::modulate_backward", mutates_args=())
def modulate_backward(grad_gate: Tensor, direction: Tensor, weight: Tensor, bias: Tensor, coef: Tensor, beta: Tensor,
                      alpha: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return backward("modulate", eps, (grad_gate,), (direction, weight, bias, coef, beta, alpha))


@torch.library.custom_op("nag::route", mutates_args=())
def route(gate: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    return forward("route", rate, gate)


@torch.library.custom_op("nag::route_above", mutates_args=())
def route_above(gate: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    return forward("route_above", 0.0, gate, threshold)


@torch.library.custom_op("nag::take", mutates_args=())
def take(direction: Tensor, indices: Tensor, offsets: Tensor, eps: float) -> Tensor:
    return forward("take", eps, direction, indices, offsets)[0]


@torch.library.custom_op("nag::take_backward", mutates_args=())
def take_backward(grad_rows: Tensor, direction: Tensor, indices: Tensor, offsets: Tensor, eps: float) -> Tensor:
    return backward("take", eps, (grad_rows,), (direction, indices, offsets))[0]


@torch.library.custom_op("nag::rotate_part", mutates_args=())
def rotate_part(direction: Tensor, log_norm: Tensor, branch: Tensor, gate: Tensor, indices: Tensor, offsets: Tensor,
                eps: float) -> tuple[Tensor, Tensor]:
    return forward("rotate_part", eps, direction, log_norm, branch, gate, indices, offsets)


@torch.library.custom_op("nag::rotate_part_backward", mutates_args=())
def rotate_part_backward(grad_direction: Tensor, grad_log_norm: Tensor, direction: Tensor, log_norm: Tensor, branch: Tensor,
                         gate: Tensor, indices: Tensor, offsets: Tensor, eps: float
                         ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return backward("rotate_part", eps, (grad_direction, grad_log_norm), (direction, log_norm, branch, gate, indices, offsets))


def _like(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in tensors)


rotate.register_fake(lambda *args: fake("rotate", args[-1], *args[:-1]))
update.register_fake(lambda *args: fake("update", args[-1], *args[:-1]))
modulate.register_fake(lambda *args: fake("modulate", args[-1], *args[:-1])[0])
route.register_fake(lambda gate, rate: fake("route", rate, gate))
route_above.register_fake(lambda gate, threshold: fake("route_above", 0.0, gate, threshold))
take.register_fake(lambda *args: fake("take", args[-1], *args[:-1])[0])
rotate_part.register_fake(lambda *args: fake("rotate_part", args[-1], *args[:-1]))
rotate_backward.register_fake(lambda gr, gs, *inputs: _like(*inputs[:-1]))
update_backward.register_fake(lambda gr, gs, gg, *inputs: _like(*inputs[:-1]))
modulate_backward.register_fake(lambda gg, *inputs: _like(*inputs[:-1]))
take_backward.register_fake(lambda gr, direction, *rest: _like(direction)[0])
rotate_part_backward.register_fake(lambda gr, gs, *inputs: _like(*inputs[:4]))


def _save(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:-1])
    ctx.eps = inputs[-1]


def _differentiate(op, derivative, integers: int = 0) -> None:
    """Registers the derivative of an op whose last inputs are so many tensors of integers, and eps."""
    def apply(ctx, *grads):
        found = derivative(*grads, *ctx.saved_tensors, ctx.eps)
        return (*(found if isinstance(found, (tuple, list)) else (found,)), *[None] * (integers + 1))

    op.register_autograd(apply, setup_context=_save)


_differentiate(rotate, rotate_backward)
_differentiate(update, update_backward)
_differentiate(modulate, modulate_backward)
_differentiate(take, take_backward, integers=2)
_differentiate(rotate_part, rotate_part_backward, integers=2)

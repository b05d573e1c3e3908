# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A slow evaluator of nag programs: runs a module, at any stage before kernels are formed, on numpy arrays in float64.

    machine = Machine(text)             # the output of `nag-opt --mlir-print-op-generic`
    results = machine.call("gradients", {"tokens": tokens, ...})

A tensor is an array, a `!nag.stream` the pair (direction, log-norm).
"""

import re

import numpy as np

import nag_reference as ops

from .mlir_text import parse, shape_and_type

BINARY = {"addf": np.add, "subf": np.subtract, "mulf": np.multiply, "divf": np.divide, "maximumf": np.maximum,
          "minimumf": np.minimum, "addi": np.add, "muli": np.multiply}
ELEMENTWISE = {"arith.negf": np.negative, "arith.extf": np.asarray, "arith.truncf": np.asarray}
ELEMENTWISE |= {f"math.{name}": getattr(np, name) for name in ("sqrt", "exp", "log", "log1p", "tanh", "sin", "cos")}
ELEMENTWISE |= {"math.erf": ops.dense.erf, "math.expm1": np.expm1, "math.fma": lambda x, y, z: x * y + z,
          "math.powf": np.power, "arith.select": np.where}
ELEMENTWISE |= {"math.absf": np.abs, "math.rsqrt": lambda x: 1.0 / np.sqrt(x)}
# By the number of arith's ordered predicate.
COMPARISONS = {1: np.equal, 2: np.greater, 3: np.greater_equal, 4: np.less, 5: np.less_equal}


def group_settings(text):
    return {name: float(value) for name, value in re.findall(r"(\w+) = ([^,>]+)", text)}


def attention_form(attributes):
    return dict(heads=attributes["heads"], kv_heads=attributes["kv_heads"], window=attributes.get("window"))


def run_attention(a, q, k, v, *route):
    if not route:
        return ops.attention(q, k, v, **attention_form(a))
    return ops.routed_attention(q, k, v, *route, **attention_form(a))


def run_rotary(a, x, cos, sin, indices=None):
    if indices is None:
        return ops.rotary(x, cos, sin, a["heads"], "inverse" in a)
    return ops.rotary_at(x, cos, sin, indices, a["heads"], "inverse" in a)


def routing_form(attributes):
    text = attributes["routing"]
    rate = re.search(r"rate = ([^,>]+)", text)
    return re.search(r"threshold|capacity|rate", text)[0], float(rate[1]) if rate else 0.0


def run_route(a, scores, dial=None):
    """Where rows are counted at run time, there are no others."""
    policy, rate = routing_form(a)
    indices, offsets = ops.route(scores, policy, rate if dial is None else dial)
    return indices[:offsets[-1]], offsets


def factor(attributes):
    return attributes.get("factor", 1.0)


def tanh_form(attributes):
    return "approximate_tanh" in attributes


def token_vjp(a, logits, targets, lse, dlosses):
    return ops.token_loss_vjp(logits, targets, dlosses, a["vocab"], a["ignore_index"])


def attention_vjp(a, q, k, v, o, lse, do, *route):
    if not route:
        return ops.attention_vjp(q, k, v, do, **attention_form(a))
    return ops.routed_attention_vjp(q, k, v, do, *route, **attention_form(a))


def norm_form(a):
    return dict(groups=a["groups"], factor=a["factor"], eps=a["eps"])


def gate_vjp(a, z, b, p, beta, alpha, dg, scale=1.0):
    return ops.gate_vjp(z, b, p, beta, alpha, dg, scale)


def head_form(a):
    return dict(vocab=a["vocab"], factor=a["factor"], ignore_index=a["ignore_index"])


# Each takes the attributes and the operands' values, and returns the result or a tuple of results.
NAG = {
    "accumulate": lambda a, x, y: x + y,
    "adamw": lambda a, *x: ops.adamw(*x, **group_settings(a["group"])),
    "attention": run_attention,
    "attention_vjp": attention_vjp,
    "clip_factor": lambda a, *x: ops.clip_factor(*x),
    "constrain": lambda a, w: ops.constrain(w, re.search(r"zero_mean_unit_rms|zero_mean|none", a["constraint"])[0]),
    "cross_entropy": lambda a, *x: ops.cross_entropy(*x, a["vocab"], a["ignore_index"]),
    "decode": lambda a, x, w: ops.decode(*x, w),
    "direction": lambda a, x: x[0],
    "embedding": lambda a, *x: ops.embedding(*x),
    "embedding_vjp": lambda a, *x: ops.embedding_vjp(*x, a["rows"]),
    "encode": lambda a, *x: (ops.encode(*x),),
    "encode_vjp": lambda a, *x: ops.encode_vjp(*x),
    "gain": lambda a, *x: ops.gain(*x),
    "gain_vjp": lambda a, *x: ops.gain_vjp(*x),
    "gate": lambda a, *x: ops.gate(*x),
    "gate_vjp": gate_vjp,
    "gelu": lambda a, x: ops.gelu(x, tanh_form(a)),
    "gelu_vjp": lambda a, *x: ops.gelu_vjp(*x, tanh_form(a)),
    "global_norm": lambda a, *x: ops.global_norm(x),
    "head_loss": lambda a, *x: ops.head_loss(*x, **head_form(a)),
    "head_loss_vjp": lambda a, *x: ops.head_loss_vjp(*x, **head_form(a)),
    "inverse_rms": lambda a, x: ops.inverse_rms(x, a["groups"], a["eps"]),
    "linear": lambda a, *x: ops.linear(*x, "transpose_weight" in a),
    "log_norm": lambda a, x: x[1],
    "make_stream": lambda a, r, s: ((r, s),),
    "masked_mean": lambda a, *x: ops.masked_mean(*x, a["ignore_index"]),
    "masked_mean_vjp": lambda a, targets, count, dmean: ops.masked_mean_vjp(targets, dmean, a["ignore_index"]),
    "modulate": lambda a, *x: ops.modulate(*x),
    "put": lambda a, *x: ops.put(*x),
    "quantile": lambda a, *x: ops.quantile(*x),
    "relu2": lambda a, x: ops.relu2(x),
    "relu2_vjp": lambda a, *x: ops.relu2_vjp(*x),
    "residual_add": lambda a, x, y: x + y,
    "rms_norm": lambda a, *x: ops.rms_norm(*x, **norm_form(a)),
    "rms_norm_vjp": lambda a, *x: ops.rms_norm_vjp(*x, **norm_form(a)),
    "rotary": run_rotary,
    "rotate": lambda a, x, f, g: (ops.rotate(*x, f, g, a["eps"]),),
    "rotate_vjp": lambda a, *x: ops.rotate_vjp(*x, a["eps"]),
    "route": run_route,
    "soft_skip": lambda a, *x: ops.soft_skip(*x, a["temperature"]),
    "soft_skip_vjp": lambda a, *x: ops.soft_skip_vjp(*x, a["temperature"]),
    "softmax_vjp": lambda a, *x: ops.softmax_vjp(*x),
    "squared_norm": lambda a, x: ops.squared_norm(x),
    "swiglu": lambda a, *x: ops.swiglu(*x),
    "swiglu_vjp": lambda a, *x: ops.swiglu_vjp(*x),
    "take": lambda a, *x: ops.take(*x),
    "target_count": lambda a, t: np.array(float(np.sum(t != a["ignore_index"]))),
    "temper": lambda a, *x: ops.temper(*x, factor(a)),
    "temper_vjp": lambda a, *x: ops.temper_vjp(*x, factor(a)),
    "token_loss": lambda a, *x: ops.token_loss(*x, a["vocab"], a["ignore_index"]),
    "token_loss_vjp": token_vjp,
    "weight_grad": lambda a, *x: ops.weight_grad(*x),
}


def slices(attributes):
    return tuple(slice(o, o + n * s, s) for o, n, s in
                 zip(attributes["static_offsets"], attributes["static_sizes"], attributes["static_strides"]))


def insert_slice(a, source, target):
    result = np.array(target)
    result[slices(a)] = np.reshape(source, a["static_sizes"])
    return result


TENSOR = {
    "tensor.concat": lambda a, shape, *x: np.concatenate(x, axis=a["dim"]),
    "tensor.collapse_shape": lambda a, shape, x: np.reshape(x, shape),
    "tensor.expand_shape": lambda a, shape, x: np.reshape(x, shape),
    "tensor.extract_slice": lambda a, shape, x: np.reshape(x[slices(a)], shape),
    "tensor.insert_slice": lambda a, shape, source, target: insert_slice(a, source, target),
    "tensor.empty": lambda a, shape: np.full(shape, np.nan),
    "tensor.splat": lambda a, shape, x: np.full(shape, x),
    "linalg.fill": lambda a, shape, x, out: np.full(shape, x),
}


class Machine:
    """A module's functions."""

    def __init__(self, text):
        self.functions = {op.attributes["sym_name"]: op for op in parse(text) if op.name == "func.func"}

    def names(self, function, which):
        """Names of the arguments (`arg_attrs`) or the results (`res_attrs`): those of nag.param or nag.name."""
        return [attributes.get("nag.name") or re.search(r'"([^"]*)"', attributes["nag.param"])[1]
                for attributes in self.functions[function].attributes[which]]

    def call(self, function, inputs):
        """Runs a function whose arguments and results are all named."""
        values = [np.asarray(inputs[name]) for name in self.names(function, "arg_attrs")]
        return dict(zip(self.names(function, "res_attrs"), self.run(function, values)))

    def run(self, function, values):
        return self.block(self.functions[function].regions[0], values, {})

    def block(self, block, values, outer):
        """The operands of the block's terminator. A nested block also sees the values around it."""
        scope = outer | dict(zip(block.arguments, values, strict=True))
        for op in block.operations:
            operands = [scope[name] for name in op.operands]
            if op.name in ("func.return", "nag.yield"):
                return operands
            results = self.evaluate(op, operands, scope)
            scope |= zip(op.results, results if isinstance(results, (tuple, list)) else (results,), strict=True)
        raise ValueError("expected a terminator, but got the end of a block")

    def evaluate(self, op, operands, scope):
        dialect, _, name = op.name.partition(".")
        if hasattr(self, "do_" + op.name.replace(".", "_")):
            return getattr(self, "do_" + op.name.replace(".", "_"))(op, operands, scope)
        if dialect == "nag" and name in NAG:
            return NAG[name](op.attributes, *operands)
        if op.name in TENSOR:
            return TENSOR[op.name](op.attributes, shape_and_type(op.result_types[0])[0], *operands)
        if dialect == "arith" and name in BINARY:
            return BINARY[name](*operands)
        if op.name in ELEMENTWISE:
            return ELEMENTWISE[op.name](*operands)
        raise ValueError(f"expected an operation that the evaluator knows, but got '{op.name}'")

    def do_arith_cmpf(self, op, operands, scope):
        return COMPARISONS[op.attributes["predicate"]](*operands)

    def do_arith_constant(self, op, operands, scope):
        return op.attributes["value"]

    def do_nag_rotary_table(self, op, operands, scope):
        (length, half), _ = shape_and_type(op.result_types[0])
        return ops.rotary_table(length, 2 * half, op.attributes["base"], op.attributes["first"])

    def do_func_call(self, op, operands, scope):
        return self.run(op.attributes["callee"], operands)

    def do_nag_row_gram(self, op, rows, scope):
        pairs = zip(op.attributes["left"], op.attributes["right"])
        return [np.sum(rows[i] if j < 0 else rows[i] * rows[j], axis=-1) for i, j in pairs]

    def do_nag_row_combine(self, op, operands, scope):
        count = op.attributes["operandSegmentSizes"][0]
        rows, lanes = operands[:count], [lane[..., None] for lane in operands[count:]]
        terms = [row * lane for row, lane in zip(rows, lanes)] + lanes[count:]
        return np.broadcast_to(sum(terms), rows[0].shape)

    def do_nag_row_scalars(self, op, operands, scope):
        shape = shape_and_type(op.result_types[0])[0]
        return [np.broadcast_to(x, shape) for x in self.block(op.regions[0], operands, {})]

    def do_nag_block(self, op, operands, scope):
        (r, s), *weights = operands
        dial = None
        if "routing" in op.attributes and op.attributes["operandSegmentSizes"][-1]:
            *weights, dial = weights
        g = ops.modulate(r, *weights)
        if "routing" not in op.attributes:
            (f,) = self.block(op.regions[0], [r], scope)
            return ops.rotate(r, s, f, g, op.attributes["eps"]), g
        route = run_route(op.attributes, g, dial)
        (rows, rest), (norms, other) = ops.take(r, *route), ops.take(s, *route)
        (f,) = self.block(op.regions[0], [r, rows, *route], scope)
        rows, norms = ops.rotate(rows, norms, f, ops.modulate(rows, *weights), op.attributes["eps"])
        return (ops.put(rows, rest, *route), ops.put(norms, other, *route)), g, route[1]

    def do_nag_repeat(self, op, operands, scope):
        a = op.attributes
        carries, stacks, _ = a["operandSegmentSizes"]
        carry, stacked, shared = operands[:carries], operands[carries:carries + stacks], operands[carries + stacks:]
        layers = range(a["first"], a["first"] + a["count"])
        outputs = []
        for layer in reversed(layers) if "reverse" in a else layers:
            results = self.run(a["callee"], [*carry, *(x[layer] for x in stacked), *shared])
            carry = results[:carries]
            outputs.append(results[carries:])
        if "reverse" in a:
            outputs.reverse()
        return [*carry, *(np.stack(x) for x in zip(*outputs))]

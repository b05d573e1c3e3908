# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Evaluates functions of nag ops in float64 with the plain references, without any lowering.

    loss, *gradients = Module(text).call("gradients", tokens, w)

Reads what `nag-opt --mlir-print-op-generic` prints. A stream is the pair (direction, log-norm). Ops: those of the
training graph, elementwise arith and math.
"""

import re

import numpy as np

import nag_reference as ref

OP = re.compile(r'^\s*(?:(?P<results>%[^=]*) = )?"(?P<name>[\w.]+)"\((?P<operands>[^)]*)\)(?: <\{(?P<attributes>.*?)\}>)?'
                r'(?P<rest>.*)$')
ATTRIBUTE = re.compile(r"(\w+)(?: = (array<[^>]*>|dense<[^>]*> : [^,]*|\"[^\"]*\"|[^,]+))?")
SHAPE = re.compile(r"-> \(?tensor<((?:\d+x)*)")


def parse_value(text):
    if text is None:
        return True
    if text.startswith("array<"):
        return [int(n) for n in text[6:-1].split(":")[1].split(",")]
    if text.startswith("@"):
        return text[1:]
    number = re.fullmatch(r"(-?[\d.]+(?:[eE][-+]?\d+)?) : (\w+)", text)
    return (float if number[2].startswith("f") else int)(number[1]) if number else text


def constant(match):
    value = re.search(r"dense<([^>]*)>", match["attributes"]).group(1)
    dimensions = SHAPE.search(match["rest"]).group(1).split("x")[:-1]
    return np.full([int(n) for n in dimensions], float(value))


def attention(q, k, v, heads, kv_heads, window=None):
    return ref.attention(q, k, v, heads, kv_heads, window)


def attention_vjp(q, k, v, o, lse, do, heads, kv_heads, window=None):
    return ref.attention_vjp(q, k, v, do, heads, kv_heads, window)


def token_loss_vjp(logits, targets, lse, dlosses, vocab, ignore_index=-1):
    return ref.token_loss_vjp(logits, targets, dlosses, vocab, ignore_index)


def masked_mean_vjp(targets, count, dmean, ignore_index=-1):
    return ref.masked_mean_vjp(targets, dmean, ignore_index)


def gate_vjp(z, b, p, beta, alpha, dg, scale=1.0):
    return ref.gate_vjp(z, b, p, beta, alpha, dg, scale)


def rotate(stream, f, g, eps):
    return (ref.rotate(*stream, f, g, eps),)


def slices(static_offsets, static_sizes, static_strides):
    return tuple(slice(o, o + n * s, s) for o, n, s in zip(static_offsets, static_sizes, static_strides))


def extract_slice(x, **bounds):
    return x[slices(**bounds)]


def insert_slice(part, around, **bounds):
    result = around.copy()
    result[slices(**bounds)] = part
    return result


def concat(*parts, dim):
    return np.concatenate(parts, axis=dim)


OPS = {
    "nag.attention": attention, "nag.attention_vjp": attention_vjp, "nag.token_loss_vjp": token_loss_vjp,
    "nag.masked_mean_vjp": masked_mean_vjp, "nag.gate_vjp": gate_vjp, "nag.rotate": rotate,
    "tensor.extract_slice": extract_slice, "tensor.insert_slice": insert_slice, "tensor.concat": concat,
    "nag.encode": lambda x, g: (ref.encode(x, g),), "nag.make_stream": lambda r, s: ((r, s),),
    "nag.direction": lambda x: x[0], "nag.log_norm": lambda x: x[1], "nag.residual_add": np.add,
    "arith.addf": np.add, "arith.subf": np.subtract, "arith.mulf": np.multiply, "arith.divf": np.divide,
    "arith.negf": np.negative, "math.exp": np.exp, "math.log": np.log, "math.tanh": np.tanh, "math.sqrt": np.sqrt,
    "math.rsqrt": lambda x: 1.0 / np.sqrt(x), "math.sin": np.sin, "math.cos": np.cos, "math.log1p": np.log1p,
    "math.powf": np.power, "math.absf": np.abs, "math.erf": ref.dense.erf, "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum, "arith.select": np.where,
} | {f"nag.{name}": getattr(ref, name) for name in (
    "embedding", "embedding_vjp", "linear", "weight_grad", "rotary", "rms_norm", "rms_norm_vjp", "gain", "gain_vjp",
    "relu2", "relu2_vjp", "gelu", "gelu_vjp", "swiglu", "swiglu_vjp", "gate", "softmax_vjp", "rotate_vjp", "temper",
    "temper_vjp", "encode_vjp", "token_loss", "masked_mean")}
COMPARISONS = {1: np.equal, 2: np.greater, 3: np.greater_equal, 4: np.less, 5: np.less_equal}


class Module:
    def __init__(self, generic_text):
        self.functions = {}
        body = None
        for line in generic_text.splitlines():
            match = OP.match(line)
            if match and match["name"] == "func.func":
                name = re.search(r'sym_name = "([^"]*)"', line).group(1)
                body = self.functions[name] = ([], [])
            elif line.strip().startswith("^bb0"):
                body[0].extend(re.findall(r"(%\w+):", line))
            elif match and body is not None:
                body[1].append(match)

    def call(self, name, *arguments):
        names, ops = self.functions[name]
        if len(names) != len(arguments):
            raise ValueError(f"expected {len(names)} arguments of {name}, but got {len(arguments)}")
        values = dict(zip(names, arguments))
        for op in ops:
            operands = [values[x.strip()] for x in op["operands"].split(",") if x.strip()]
            if op["name"] == "func.return":
                return operands
            self.store(values, op["results"], self.evaluate(op, operands))

    @staticmethod
    def store(values, targets, results):
        for target in targets.split(","):
            name, _, count = target.strip().partition(":")
            if not count:
                values[name], *results = results
            else:
                values |= {f"{name}#{i}": results[i] for i in range(int(count))}
                results = results[int(count):]

    def evaluate(self, op, operands):
        name, text = op["name"], op["attributes"] or ""
        if name == "arith.constant":
            return [constant(op)]
        attributes = {k: parse_value(v or None) for k, v in ATTRIBUTE.findall(text)}
        if name == "func.call":
            return self.call(attributes["callee"], *operands)
        if name == "nag.repeat":
            return self.repeat(attributes, operands)
        if name == "arith.cmpf":
            return [COMPARISONS[attributes["predicate"]](*operands)]
        attributes.pop("operandSegmentSizes", None)
        if name.startswith(("arith.", "math.")):
            attributes = {}
        results = OPS[name](*operands, **attributes)
        return list(results) if isinstance(results, tuple) else [results]

    def repeat(self, attributes, operands):
        numbers = iter(operands)
        carry, stacked, shared = ([next(numbers) for _ in range(n)] for n in attributes["operandSegmentSizes"])
        count, first = attributes["count"], attributes.get("first", 0)
        slices = [None] * count
        for i in sorted(range(count), reverse="reverse" in attributes):
            results = self.call(attributes["callee"], *carry, *(x[first + i] for x in stacked), *shared)
            carry, slices[i] = results[:len(carry)], results[len(carry):]
        return carry + [np.stack(stack) for stack in zip(*slices)]

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""-nag-differentiate against central differences in float64, with the slow evaluator: no lowering takes part."""

import numpy as np
import pytest

import harness
import nag_reference as ref
from models import CONFIGS, inputs_of, start, write_model
from nag_reference.interpreter import Machine
from op_cases import all_cases, normal
from program_checks import check_gradients

LIMIT = 1e-6
NOT_DIFFERENTIABLE = {"inverse_rms", "target_count", "row_gram", "row_combine", "row_scalars", "cached_attention", "modulate",
                      "decode", "cross_entropy", "accumulate", "rotary_table", "squared_norm", "global_norm", "clip_factor",
                      "adamw", "constrain", "weight_grad"}
# What central differences cannot show: the tables count as constants, two results carry no derivative, and a
# branch along r or a saturated sigmoid leaves rounding noise only.
CONSTANT = {"rotary": ("cos", "sin")}
WITHOUT = {"attention": ("lse",), "token_loss": ("lse",), "masked_mean": ("count",)}
NOISE = ("parallel branch", "zero branch", "large branch", "near branch", "saturated", "large values", "wide", "long",
         "nothing counted")


def differentiate(text, tmp_path, options):
    path = tmp_path / "forward.mlir"
    path.write_text(text)
    opt = harness.build_folder() / "bin" / "nag-opt"
    return Machine(harness.run([opt, path, f"--nag-differentiate={options}", "--mlir-print-op-generic"]))


DIFFERENTIABLE = [case for case in all_cases() if case.op not in NOT_DIFFERENTIABLE
                  and not case.op.endswith("_vjp") and not case.name.endswith(NOISE)]


@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda case: case.name)
def test_op_gradient_equals_central_differences(case, tmp_path):
    without = WITHOUT.get(case.op, ())
    machine = differentiate(case.text("f64", without=without), tmp_path, "function=f seeded")
    inputs = list(case.inputs.values())
    cotangents = [normal(*np.shape(x), seed=9) for k, x in case.results.items() if k not in without]
    gradients = iter(machine.run("f.gradients", inputs + cotangents))

    def forward(*values):
        return tuple(machine.run("f", values))

    for index, (name, x) in enumerate(case.inputs.items()):
        if x.dtype == np.int32:
            continue
        got = next(gradients)
        if name not in CONSTANT.get(case.op, ()):
            expected = ref.central_difference(forward, inputs, index, cotangents)
            assert ref.relative_error(got, expected, floor=1e-3) < LIMIT, name


PARAMETERS = {
    "table": (11, 8), "gain": (), "gate_w": (3, 5, 8), "gate_b": (3, 5), "gate_p": (3, 5), "beta": (3,), "alpha": (3,),
    "wq": (3, 8, 8), "wk": (3, 4, 8), "wv": (3, 4, 8), "norm": (3, 4), "up": (3, 12, 8), "down": (3, 8, 12),
    "shared_gain": (8,),
}
MODEL = """
func.func private @layer(%x: !nag.stream<2x5x8xf64>, %gate_w: tensor<5x8xf64>, %gate_b: tensor<5xf64>,
    %gate_p: tensor<5xf64>, %beta: tensor<f64>, %alpha: tensor<f64>, %wq: tensor<8x8xf64>, %wk: tensor<4x8xf64>,
    %wv: tensor<4x8xf64>, %norm: tensor<4xf64>, %up: tensor<12x8xf64>, %down: tensor<8x12xf64>,
    %cos: tensor<5x2xf64>, %sin: tensor<5x2xf64>, %scale: tensor<f64>, %shared_gain: tensor<8xf64>)
    -> (!nag.stream<2x5x8xf64>, tensor<2x5xf64>) {
  %r = nag.direction %x : !nag.stream<2x5x8xf64>
  %z = nag.linear %r, %gate_w : (tensor<2x5x8xf64>, tensor<5x8xf64>) -> tensor<2x5x5xf64>
  %g = nag.gate %z, %gate_b, %gate_p, %beta, %alpha scale %scale : (tensor<2x5x5xf64>, tensor<5xf64>, tensor<5xf64>,
      tensor<f64>, tensor<f64>, tensor<f64>) -> tensor<2x5xf64>
  %q0 = nag.linear %r, %wq : (tensor<2x5x8xf64>, tensor<8x8xf64>) -> tensor<2x5x8xf64>
  %k0 = nag.linear %r, %wk : (tensor<2x5x8xf64>, tensor<4x8xf64>) -> tensor<2x5x4xf64>
  %v = nag.linear %r, %wv : (tensor<2x5x8xf64>, tensor<4x8xf64>) -> tensor<2x5x4xf64>
  %q1 = nag.rotary %q0, %cos, %sin {heads = 2} : (tensor<2x5x8xf64>, tensor<5x2xf64>, tensor<5x2xf64>) -> tensor<2x5x8xf64>
  %k1 = nag.rotary %k0, %cos, %sin {heads = 1} : (tensor<2x5x4xf64>, tensor<5x2xf64>, tensor<5x2xf64>) -> tensor<2x5x4xf64>
  %q = nag.rms_norm %q1 gain %norm {groups = 2, factor = 1.2} : (tensor<2x5x8xf64>, tensor<4xf64>) -> tensor<2x5x8xf64>
  %k = nag.rms_norm %k1 {factor = 1.2} : (tensor<2x5x4xf64>) -> tensor<2x5x4xf64>
  %o, %lse = nag.attention %q, %k, %v {heads = 2, kv_heads = 1}
      : (tensor<2x5x8xf64>, tensor<2x5x4xf64>, tensor<2x5x4xf64>) -> (tensor<2x5x8xf64>, tensor<2x2x5xf64>)
  %o2 = nag.gain %o, %shared_gain : (tensor<2x5x8xf64>, tensor<8xf64>) -> tensor<2x5x8xf64>
  %y = nag.rotate %x, %o2, %g : (!nag.stream<2x5x8xf64>, tensor<2x5x8xf64>, tensor<2x5xf64>) -> !nag.stream<2x5x8xf64>
  %out = call @mlp(%y, %up, %down, %g) : (!nag.stream<2x5x8xf64>, tensor<12x8xf64>, tensor<8x12xf64>, tensor<2x5xf64>)
      -> !nag.stream<2x5x8xf64>
  return %out, %g : !nag.stream<2x5x8xf64>, tensor<2x5xf64>
}

func.func private @mlp(%x: !nag.stream<2x5x8xf64>, %up: tensor<12x8xf64>, %down: tensor<8x12xf64>, %g: tensor<2x5xf64>)
    -> !nag.stream<2x5x8xf64> {
  %r = nag.direction %x : !nag.stream<2x5x8xf64>
  %h = nag.linear %r, %up : (tensor<2x5x8xf64>, tensor<12x8xf64>) -> tensor<2x5x12xf64>
  %a = nag.relu2 %h : (tensor<2x5x12xf64>) -> tensor<2x5x12xf64>
  %f = nag.linear %a, %down : (tensor<2x5x12xf64>, tensor<8x12xf64>) -> tensor<2x5x8xf64>
  %y = nag.rotate %x, %f, %g : (!nag.stream<2x5x8xf64>, tensor<2x5x8xf64>, tensor<2x5xf64>) -> !nag.stream<2x5x8xf64>
  return %y : !nag.stream<2x5x8xf64>
}

func.func @loss(%tokens: tensor<2x5xi32>, %cos: tensor<5x2xf64>, %sin: tensor<5x2xf64>, %scale: tensor<f64>,
    PARAMETERS) -> (tensor<f64>, tensor<3x2x5xf64>) {
  %e = nag.embedding %tokens, %table : (tensor<2x5xi32>, tensor<11x8xf64>) -> tensor<2x5x8xf64>
  %x = nag.encode %e, %gain : (tensor<2x5x8xf64>, tensor<f64>) -> !nag.stream<2x5x8xf64>
  %x1, %g1 = nag.repeat @layer 1 carry(%x) stacked(STACKED) shared(%cos, %sin, %scale, %shared_gain)
      : (!nag.stream<2x5x8xf64>), (STACKS), (tensor<5x2xf64>, tensor<5x2xf64>, tensor<f64>, tensor<8xf64>)
      -> (!nag.stream<2x5x8xf64>), (tensor<1x2x5xf64>)
  %x2, %g2 = nag.repeat @layer 2 carry(%x1) stacked(STACKED) shared(%cos, %sin, %scale, %shared_gain) {first = 1}
      : (!nag.stream<2x5x8xf64>), (STACKS), (tensor<5x2xf64>, tensor<5x2xf64>, tensor<f64>, tensor<8xf64>)
      -> (!nag.stream<2x5x8xf64>), (tensor<2x2x5xf64>)
  %r = nag.direction %x2 : !nag.stream<2x5x8xf64>
  %s = nag.log_norm %x2 : !nag.stream<2x5x8xf64>
  %c = nag.linear %r, %table : (tensor<2x5x8xf64>, tensor<11x8xf64>) -> tensor<2x5x11xf64>
  %t = nag.temper %c, %s {factor = 0.125} : (tensor<2x5x11xf64>, tensor<2x5xf64>) -> tensor<2x5x11xf64>
  %l, %lse = nag.token_loss %t, %tokens {vocab = 10} : (tensor<2x5x11xf64>, tensor<2x5xi32>)
      -> (tensor<2x5xf64>, tensor<2x5xf64>)
  %m, %n = nag.masked_mean %l, %tokens : (tensor<2x5xf64>, tensor<2x5xi32>) -> (tensor<f64>, tensor<f64>)
  %gates = tensor.concat dim(0) %g1, %g2 : (tensor<1x2x5xf64>, tensor<2x2x5xf64>) -> tensor<3x2x5xf64>
  return %m, %gates : tensor<f64>, tensor<3x2x5xf64>
}
"""


def tensor_type(shape):
    return f"tensor<{''.join(f'{n}x' for n in shape)}f64>"


def model_text():
    stacked = {k: s for k, s in PARAMETERS.items() if s[:1] == (3,)}
    parameters = ",\n    ".join(
        f'%{k}: {tensor_type(s)} {{nag.param = #nag.param<"{k}", init = <zeros>, group = "m">}}'
        for k, s in PARAMETERS.items())
    return (MODEL.replace("PARAMETERS", parameters).replace("STACKED", ", ".join(f"%{k}" for k in stacked))
            .replace("STACKS", ", ".join(map(tensor_type, stacked.values()))))


def model_inputs():
    tokens = np.array([[1, 4, 4, 0, 9], [3, -1, 7, 2, 1]], np.int32)
    cos, sin = ref.rotary_table(5, 4)
    parameters = [0.5 * normal(*s, seed=i) for i, s in enumerate(PARAMETERS.values())]
    return [np.maximum(tokens, 0), cos, sin, np.array(0.8), *parameters]


# On tensor<6xf64>; x is positive, and x and y are away from kinks.
RULES = {
    "arith.subf": "%z = arith.subf %x, %y", "arith.divf": "%z = arith.divf %x, %y", "arith.negf": "%z = arith.negf %y",
    "arith.maximumf": "%z = arith.maximumf %x, %y", "arith.minimumf": "%z = arith.minimumf %x, %y",
    "math.powf": "%z = math.powf %x, %y", "math.fma": "%z = math.fma %x, %y, %x",
} | {f"math.{name}": f"%z = math.{name} %x"
     for name in ("exp", "expm1", "log", "log1p", "tanh", "sqrt", "rsqrt", "absf", "sin", "cos", "erf")}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rule_equals_central_differences(rule, tmp_path):
    kind = "tensor<6xf64>"
    machine = differentiate(f"func.func @f(%x: {kind}, %y: {kind}) -> {kind} {{\n{rule} : {kind}\nreturn %z : {kind}\n}}",
                            tmp_path, "function=f seeded")
    inputs = [np.abs(normal(6)) + 0.3, normal(6, seed=1)]
    cotangent = normal(6, seed=2)
    gradients = machine.run("f.gradients", [*inputs, cotangent])
    for index, got in enumerate(gradients):
        expected = ref.central_difference(lambda *values: machine.run("f", values)[0], inputs, index, [cotangent])
        assert ref.relative_error(got, expected, floor=1e-3) < LIMIT, index


RECOMPUTE = ("none", "cheap", "all")


@pytest.mark.parametrize("recompute", RECOMPUTE)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_configurations_equal_the_reference(config, recompute, tmp_path):
    path = tmp_path / "model.mlir"
    write_model(config, "f64", path)
    opt = harness.build_folder() / "bin" / "nag-opt"
    text = harness.run([opt, path, "--nag-expand-blocks", "--nag-decompose", f"--nag-differentiate=recompute={recompute}",
                        "--canonicalize", "--cse", "--mlir-print-op-generic"])
    params = start(config)
    check_gradients(config, params, Machine(text).call("gradients", inputs_of(config, params, np.float64)))


@pytest.mark.parametrize("recompute", RECOMPUTE)
def test_model_gradient_equals_central_differences(recompute, tmp_path):
    machine = differentiate(model_text(), tmp_path, f"recompute={recompute}")
    inputs = model_inputs()
    loss, _, *gradients = machine.run("gradients", inputs)

    def forward(*values):
        return machine.run("loss", values)[0]

    assert loss == forward(*inputs)
    for index, name in enumerate(PARAMETERS):
        direction = normal(*PARAMETERS[name], seed=100 + index)
        expected = ref.check.along(forward, inputs, 4 + index, direction, 1e-4)
        assert ref.relative_error(np.sum(gradients[index] * direction), expected, floor=1e-4) < LIMIT, name

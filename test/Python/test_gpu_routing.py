# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Depth routing for the target cuda, on the PTX machine with all of its checks, against the slow reference: the cases of
test_routing.py, forward and every gradient, nothing and everything skipped, the same bits twice; selection by every policy."""

import functools
import re
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import ml_dtypes
import nag_reference as ref
import numpy as np
import ptx_machine
import pytest

import harness
import test_routing
from models import GATE_SCALE, data, start, write_model
from nag_reference.model import Model
from test_routing import AUX_WEIGHT, CASES, FIXED, RATES, ROUTE, SCHEDULED, SKIP, block_inputs, routed_inputs, thresholds_of

# f32 against f64; gradients of gates are small differences of larger numbers.
LIMIT = 2e-4
EXTREMES = (0.0, 1e30)


class Arguments:
    """What the functions of a module take, by its text: nothing is compiled for it."""

    def __init__(self, text):
        named = r'%arg\d+: [^{]*\{nag\.(?:name = |param = #nag\.param<)"([^"]+)"'
        self.functions = {name: [SimpleNamespace(name=argument) for argument in re.findall(named, taken)]
                          for name, taken in re.findall(r"func\.func @(\w+)\((.*?)\) ->", text)}

    def arguments(self, name):
        return self.functions[name]


class Routed:
    """A case: its inputs, and what the machine returns for calls that are made at once."""

    def __init__(self, config, folder, extra=(), precision="f32"):
        self.config, self.folder, self.precision = config, folder, precision
        write_model(config, "f32", folder / "model.mlir", extra)
        pipeline = "--nag-training-pipeline" + ("=bf16" if precision == "bf16" else "")
        self.text = harness.run([harness.build_folder() / "bin/nag-opt", folder / "model.mlir", pipeline])
        self.program = Arguments(self.text)
        self.params = start(config)
        self.thresholds = thresholds_of(config, self.params)

    def inputs(self, thresholds=None, rate=None):
        thresholds = self.thresholds if thresholds is None else thresholds
        return routed_inputs(self.config, self.params, self.program, thresholds, np.float32, rate)

    def call(self, calls):
        options = ("--precision", self.precision)
        return ptx_machine.call(harness.build_folder(), self.text, calls, self.folder, options=options).results

    def reference(self, thresholds=None, **changes):
        weight = AUX_WEIGHT if self.config.mod_aux > 0.0 else 0.0
        thresholds = self.thresholds if thresholds is None else thresholds
        return Model(replace(self.config, **changes), self.params, data(self.config)[0], GATE_SCALE, thresholds, weight)


check = functools.partial(test_routing.check, limit=LIMIT, floor=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_every_policy(name, tmp_path):
    config = CASES[name]
    routed = Routed(config, tmp_path)
    inputs = routed.inputs()
    logits = {a.name: inputs[a.name] for a in routed.program.arguments("logits")}
    calls = [("gradients", inputs), ("gradients", inputs), ("logits", logits)]
    extremes = [] if config.mod_policy == "capacity" else [np.full(2 * config.layers, x) for x in EXTREMES]
    calls += [("gradients", routed.inputs(x)) for x in extremes]
    one, again, forward, *others = routed.call(calls)
    check(one, routed.reference(), config)
    assert all(again[key].tobytes() == x.tobytes() for key, x in one.items())
    assert ref.relative_error(forward["logits"], routed.reference().logits) <= LIMIT
    for thresholds, results in zip(extremes, others):
        assert all(np.isfinite(x).all() for x in results.values())
        check(results, routed.reference(thresholds), config)


@pytest.mark.parametrize("name", ["capacity", "threshold, keys routed"])
def test_products_in_bf16(name, tmp_path):
    """Only executed rows of a stream's bf16 copy are written; a wrong row would be an error of its whole size."""
    routed = Routed(CASES[name], tmp_path, precision="bf16")
    one, again = routed.call([("gradients", routed.inputs())] * 2)
    assert all(again[key].tobytes() == x.tobytes() for key, x in one.items())
    model, targets = routed.reference(), data(routed.config)[1]
    assert (one["offsets"] == model.offsets()).all()
    for name, expected in model.backward(targets).items():
        difference = np.linalg.norm(one["grad:" + name] - expected)
        assert difference <= 3e-2 * np.linalg.norm(expected) + 1e-6, name


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_rate_decided_at_run_time(name, tmp_path):
    config, rates = SCHEDULED[name], (0.0, 0.3, 0.9)
    routed = Routed(config, tmp_path, [("mod_ramp", 10)])
    results = routed.call([("gradients", routed.inputs(rate=np.float32(rate))) for rate in rates])
    for rate, result in zip(rates, results):
        check(result, routed.reference(mod_rate=rate), config)


def test_skipped_rows_keep_their_bits_and_ties_go_to_the_earlier_token(tmp_path):
    cases = [block_inputs(tied) for tied in (False, True)]
    for inputs, got in zip(cases, ptx_machine.call(harness.build_folder(), SKIP, [("f", x) for x in cases], tmp_path).results):
        mask = ref.executed(got["g"], "capacity", 0.5)
        assert list(got["offsets"]) == [0, 4, 8]
        assert not (inputs["w"] == 0.0).all() or (mask == (np.arange(8) < 4)).all()
        assert (got["r1"][~mask] == inputs["r"][~mask]).all() and (got["s1"][~mask] == inputs["s"][~mask]).all()
        assert (got["r1"][mask] != inputs["r"][mask]).any(axis=-1).all()


@functools.cache
def scores(length):
    """Of one decimal: many are equal; one row is a tie, one has a NaN."""
    g = np.round(np.random.default_rng(2).normal(size=(3, length)), 1).astype(np.float32)
    g[1] = -0.5
    g[2, length // 2] = np.nan
    return g


@pytest.mark.parametrize("length", [11, 75, 300])
def test_selection(length, tmp_path):
    g, order = scores(length), np.where(np.isnan(scores(length)), np.inf, scores(length))
    texts = [ROUTE.replace("3x11", f"3x{length}").replace("tensor<33xi32>", f"tensor<{3 * length}xi32>")]
    calls, expected = [], []
    for number, rate in enumerate(RATES):
        rows = 3 * ref.kept(rate, length)
        texts.append(FIXED.format(number=number, rows=rows, rate=rate).replace("3x11", f"3x{length}"))
        calls.append((f"fixed{number}", {"g": g}))
        expected.append(ref.route(order, "capacity", rate, rows))
        for name in ("capacity", "threshold"):
            calls.append((name, {"g": g, "dial": np.float32(rate)}))
            expected.append(ref.route(order, name, np.float32(rate) if name == "threshold" else rate))
    for got, (indices, offsets) in zip(ptx_machine.call(harness.build_folder(), "".join(texts), calls, tmp_path).results, expected):
        assert (got["offsets"] == offsets).all() and (got["indices"] == indices).all()


# The rows before are read afterwards, so that the rows that are put have a place of their own; rows of any length, and scalars.
CARRIED = """
func.func @width{width}{element}(%g: tensor<3x75xf32> {{nag.name = "g"}}, %tau: tensor<f32> {{nag.name = "tau"}},
    %x: tensor<3x75x{width}x{element}> {{nag.name = "x"}}, %s: tensor<3x75xf32> {{nag.name = "s"}})
    -> (tensor<3x75x{width}x{element}> {{nag.name = "y"}}, tensor<3x75x{width}x{element}> {{nag.name = "z"}}, tensor<3x75xf32> {{nag.name = "t"}},
        tensor<3x75xf32> {{nag.name = "u"}}) {{
  %i, %o = nag.route %g dial %tau {{routing = #nag.routing<threshold>}} : (tensor<3x75xf32>, tensor<f32>) -> (tensor<225xi32>, tensor<4xi32>)
  %r, %rest = nag.take %x, %i, %o : (tensor<3x75x{width}x{element}>, tensor<225xi32>, tensor<4xi32>)
      -> (tensor<225x{width}x{element}>, tensor<3x75x{width}x{element}>)
  %q, %others = nag.take %s, %i, %o : (tensor<3x75xf32>, tensor<225xi32>, tensor<4xi32>) -> (tensor<225xf32>, tensor<3x75xf32>)
  %n = arith.negf %r : tensor<225x{width}x{element}>
  %m = arith.negf %q : tensor<225xf32>
  %y = nag.put %n, %x, %i, %o : (tensor<225x{width}x{element}>, tensor<3x75x{width}x{element}>, tensor<225xi32>, tensor<4xi32>)
      -> tensor<3x75x{width}x{element}>
  %t = nag.put %m, %s, %i, %o : (tensor<225xf32>, tensor<3x75xf32>, tensor<225xi32>, tensor<4xi32>) -> tensor<3x75xf32>
  %z = arith.addf %x, %y : tensor<3x75x{width}x{element}>
  %u = arith.addf %s, %t : tensor<3x75xf32>
  return %y, %z, %t, %u : tensor<3x75x{width}x{element}>, tensor<3x75x{width}x{element}>, tensor<3x75xf32>, tensor<3x75xf32>
}}
"""


def test_rows_that_skip_are_carried_along(tmp_path):
    generator = np.random.default_rng(4)
    kinds = [(1, "f32"), (3, "bf16"), (5, "f32"), (36, "f32"), (200, "bf16")]
    text, calls = "".join(CARRIED.format(width=width, element=element) for width, element in kinds), []
    for width, element in kinds:
        x = generator.normal(size=(3, 75, width)).astype(np.float32 if element == "f32" else ml_dtypes.bfloat16)
        for tau in (0.0, 0.3, 0.7, 1e30):
            inputs = dict(g=scores(75), tau=np.float32(tau), x=x, s=generator.normal(size=(3, 75)).astype(np.float32))
            calls.append((f"width{width}{element}", inputs))
    for (name, inputs), got in zip(calls, ptx_machine.call(harness.build_folder(), text, calls, tmp_path).results):
        mask = ~(np.abs(inputs["g"]) < inputs["tau"])
        expected = dict(y=np.where(mask[..., None], -inputs["x"], inputs["x"]), t=np.where(mask, -inputs["s"], inputs["s"]))
        for put, total, before in (("y", "z", "x"), ("t", "u", "s")):
            assert got[put].tobytes() == expected[put].tobytes(), (name, put)
            assert (got[total] == expected[put] + inputs[before]).all(), (name, total)
    command = [harness.build_folder() / "bin/nagc", "compile", tmp_path / "module.mlir", "--target", "cuda", "--report-memory", "-o", tmp_path]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert re.findall(r"; (\d+) copies", report) == ["0"] * len(kinds), report

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Depth routing, compiled, against the slow reference: every policy, both choices of keys, forward and every gradient."""

from dataclasses import replace

import numpy as np
import pytest

import harness
import nag_reference as ref
from models import GATE_SCALE, SMALLEST, data, inputs_of, start, write_model
from nag_reference.model import Model

# One function to compile; the first case has layers without routing around it.
BASE = replace(SMALLEST, layers=1, mod_exempt=0)
HALF = dict(mod_policy="capacity", mod_rate=0.5)
CASES = {
    "capacity": replace(BASE, **HALF, layers=3, mod_exempt=1),
    "capacity, two layers, keys routed": replace(BASE, mod_policy="capacity", mod_rate=0.25, layers=2, mod_kv="routed"),
    "capacity, window, grouped heads": replace(BASE, **HALF, window=2, kv_heads=1, mlp="swiglu"),
    "capacity, window, long, keys routed": replace(BASE, **HALF, window=11, seq=75, mod_kv="routed"),
    "capacity, one token left": replace(BASE, mod_policy="capacity", mod_rate=0.95, seq=20),
    "capacity, long, auxiliary loss": replace(BASE, **HALF, seq=75, mod_aux=1.0),
    "threshold": replace(BASE, mod_policy="threshold"),
    "threshold, keys routed": replace(BASE, mod_policy="threshold", mod_kv="routed"),
    "threshold, long": replace(BASE, mod_policy="threshold", seq=75),
    "threshold, window, long, keys routed": replace(BASE, mod_policy="threshold", seq=75, mod_kv="routed", window=11),
    "rate, auxiliary loss": replace(BASE, mod_policy="rate", mod_rate=0.5, mlp="gelu", mod_aux=1.0),
    "rate, T=1": replace(BASE, mod_policy="rate", mod_rate=0.5, seq=1, batch=5),
}
SCHEDULED = {"capacity, rate at run time": replace(BASE, **HALF),
             "capacity, rate at run time, keys routed": replace(BASE, **HALF, mod_kv="routed", seq=40)}
AUX_WEIGHT = 0.3
LIMIT = 1e-6


def thresholds_of(config, params):
    """Thresholds that split the tokens of every sub-layer: the median of the dense model's gates."""
    gates = Model(replace(config, mod_policy="none"), params, data(config)[0], GATE_SCALE).gates()
    return (np.median(np.abs(gates).reshape(len(gates), -1), axis=-1) + 1e-7) / GATE_SCALE


def routed_inputs(config, params, program, thresholds, dtype=np.float64, rate=None):
    inputs = inputs_of(config, params, dtype)
    extra = {"thresholds": np.asarray(thresholds, dtype), "aux_weight": np.asarray(AUX_WEIGHT, dtype),
             "skip_rate": np.asarray(config.mod_rate if rate is None else rate, dtype)}
    return inputs | {a.name: extra[a.name] for a in program.arguments("loss") if a.name in extra}


def compile_model(config, folder, dtype="f64", extra=()):
    write_model(config, dtype, folder / "model.mlir", extra)
    return harness.compile_file(folder / "model.mlir", folder / "compiled")


class Routed:
    """A configuration, its program, and what @gradients returns."""

    def __init__(self, config, folder, extra=()):
        self.config, self.program = config, compile_model(config, folder, extra=extra)
        self.params = start(config)
        self.thresholds = thresholds_of(config, self.params)
        self.inputs = routed_inputs(config, self.params, self.program, self.thresholds)
        self.results = self.program.call("gradients", self.inputs)

    def reference(self, **changes):
        weight = AUX_WEIGHT if self.config.mod_aux > 0.0 else 0.0
        return Model(replace(self.config, **changes), self.params, data(self.config)[0], GATE_SCALE, self.thresholds,
                     weight)


def check(results, model, config, limit=LIMIT, **options):
    """Loss, gates, offsets and every gradient within `limit`; `options` are relative_error's for the gradients."""
    targets = data(config)[1]
    assert ref.relative_error(results["loss"], model.loss(targets)) <= limit
    assert ref.relative_error(results["gates"], model.gates()) <= limit
    assert (results["offsets"] == model.offsets()).all()
    for name, expected in model.backward(targets).items():
        assert ref.relative_error(results["grad:" + name], expected, **options) <= limit, name


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def routed(request, tmp_path_factory):
    return Routed(request.param, tmp_path_factory.mktemp("routed"))


def test_loss_and_gradients_equal_the_reference(routed):
    model = routed.reference()
    masks = [x.mask for _, x in model.routed()]
    assert any(not m.all() for m in masks) and any(m.any() for m in masks)
    check(routed.results, model, routed.config)


def test_logits_equal_the_reference(routed):
    inputs = {a.name: routed.inputs[a.name] for a in routed.program.arguments("logits") if a.read}
    got = routed.program.call("logits", inputs)["logits"]
    assert ref.relative_error(got, routed.reference().logits) <= LIMIT


def test_two_calls_return_the_same_bits(routed):
    again = routed.program.call("gradients", routed.inputs)
    assert all(again[name].tobytes() == x.tobytes() for name, x in routed.results.items())


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_rate_decided_at_run_time(name, tmp_path):
    config = SCHEDULED[name]
    routed = Routed(config, tmp_path, [("mod_ramp", 10)])
    check(routed.results, routed.reference(), config)
    for rate in (0.0, 0.3, 0.9):
        inputs = routed.inputs | {"skip_rate": np.float64(rate)}
        check(routed.program.call("gradients", inputs), routed.reference(mod_rate=rate), config)


def test_nothing_and_everything_skipped(routed):
    if routed.config.mod_policy == "capacity":
        return
    chosen = routed.thresholds
    for value in (0.0, 1e30):
        routed.thresholds = np.full(2 * routed.config.layers, value)
        results = routed.program.call("gradients", routed.inputs | {"thresholds": routed.thresholds})
        assert all(np.isfinite(x).all() for x in results.values())
        check(results, routed.reference(), routed.config)
    routed.thresholds = chosen


def test_rate_zero_is_the_dense_model_bit_for_bit(tmp_path):
    dense, zero = replace(BASE, batch=3), replace(BASE, batch=3, mod_policy="capacity", mod_rate=0.0)
    params = start(dense)
    (tmp_path / "dense").mkdir()
    programs = [compile_model(dense, tmp_path / "dense", "f32"), compile_model(zero, tmp_path, "f32")]
    inputs = inputs_of(dense, params, np.float32)
    one, other = (program.call("gradients", inputs) for program in programs)
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


SKIP = """
func.func @f(%r: tensor<2x8x16xf32> {nag.name = "r"}, %s: tensor<2x8xf32> {nag.name = "s"},
             %w: tensor<4x16xf32> {nag.name = "w"}, %b: tensor<4xf32> {nag.name = "b"},
             %p: tensor<4xf32> {nag.name = "p"}, %beta: tensor<f32> {nag.name = "beta"},
             %alpha: tensor<f32> {nag.name = "alpha"}, %proj: tensor<16x16xf32> {nag.name = "proj"})
    -> (tensor<2x8x16xf32> {nag.name = "r1"}, tensor<2x8xf32> {nag.name = "s1"}, tensor<2x8xf32> {nag.name = "g"},
        tensor<3xi32> {nag.name = "offsets"}) {
  %x = nag.make_stream %r, %s : !nag.stream<2x8x16xf32>
  %y, %g, %n = nag.block %x gate(%w, %b, %p, %beta, %alpha) attributes {routing = #nag.routing<capacity, rate = 0.5>}
      : !nag.stream<2x8x16xf32>, tensor<4x16xf32>, tensor<4xf32>, tensor<4xf32>, tensor<f32>, tensor<f32> {
  ^bb0(%all: tensor<2x8x16xf32>, %rows: tensor<8x16xf32>, %indices: tensor<8xi32>, %offsets: tensor<3xi32>):
    %f = nag.linear %rows, %proj : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
    nag.yield %f : tensor<8x16xf32>
  }
  %r1 = nag.direction %y : !nag.stream<2x8x16xf32>
  %s1 = nag.log_norm %y : !nag.stream<2x8x16xf32>
  return %r1, %s1, %g, %n : tensor<2x8x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<3xi32>
}
"""


def block_inputs(tied=False):
    rng = np.random.default_rng(7)
    inputs = {"r": rng.normal(size=(2, 8, 16)), "s": rng.normal(size=(2, 8)), "w": rng.normal(size=(4, 16)),
              "b": np.zeros(4), "p": np.zeros(4), "beta": np.array(0.5), "alpha": np.array(1.0),
              "proj": rng.normal(size=(16, 16))}
    if tied:
        inputs["w"] = 0.0 * inputs["w"]
    return {name: x.astype(np.float32) for name, x in inputs.items()}


def test_skipped_rows_keep_their_bits_and_ties_go_to_the_earlier_token(tmp_path):
    program = harness.compile_text(SKIP, tmp_path)
    for tied in (False, True):
        inputs = block_inputs(tied)
        got = program.call("f", inputs)
        mask = ref.executed(got["g"], "capacity", 0.5)
        assert list(got["offsets"]) == [0, 4, 8]
        if tied:
            assert (mask == (np.arange(8) < 4)).all()
        assert (got["r1"][~mask] == inputs["r"][~mask]).all() and (got["s1"][~mask] == inputs["s"][~mask]).all()
        assert (got["r1"][mask] != inputs["r"][mask]).any(axis=-1).all()


FIXED = """
func.func @fixed{number}(%g: tensor<3x11xf32> {{nag.name = "g"}})
    -> (tensor<{rows}xi32> {{nag.name = "indices"}}, tensor<4xi32> {{nag.name = "offsets"}}) {{
  %i, %o = nag.route %g {{routing = #nag.routing<capacity, rate = {rate:.6e}>}}
      : (tensor<3x11xf32>) -> (tensor<{rows}xi32>, tensor<4xi32>)
  return %i, %o : tensor<{rows}xi32>, tensor<4xi32>
}}
"""
ROUTE = """
func.func @threshold(%g: tensor<3x11xf32> {nag.name = "g"}, %t: tensor<f32> {nag.name = "dial"})
    -> (tensor<33xi32> {nag.name = "indices"}, tensor<4xi32> {nag.name = "offsets"}) {
  %i, %o = nag.route %g dial %t {routing = #nag.routing<threshold>}
      : (tensor<3x11xf32>, tensor<f32>) -> (tensor<33xi32>, tensor<4xi32>)
  return %i, %o : tensor<33xi32>, tensor<4xi32>
}
func.func @capacity(%g: tensor<3x11xf32> {nag.name = "g"}, %t: tensor<f32> {nag.name = "dial"})
    -> (tensor<33xi32> {nag.name = "indices"}, tensor<4xi32> {nag.name = "offsets"}) {
  %i, %o = nag.route %g dial %t {routing = #nag.routing<capacity>}
      : (tensor<3x11xf32>, tensor<f32>) -> (tensor<33xi32>, tensor<4xi32>)
  return %i, %o : tensor<33xi32>, tensor<4xi32>
}
func.func @quantile(%g: tensor<3x11xf32> {nag.name = "g"}, %t: tensor<f32> {nag.name = "dial"})
    -> (tensor<3xf32> {nag.name = "thresholds"}) {
  %q = nag.quantile %g, %t : (tensor<3x11xf32>, tensor<f32>) -> tensor<3xf32>
  return %q : tensor<3xf32>
}
"""
RATES = (0.0, 0.1, 0.3, 0.7, 0.95)


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    fixed = [FIXED.format(number=i, rows=3 * ref.kept(rate, 11), rate=rate) for i, rate in enumerate(RATES)]
    return harness.compile_text(ROUTE + "".join(fixed), tmp_path_factory.mktemp("routes"))


@pytest.mark.parametrize("number, rate", list(enumerate(RATES)))
def test_selection(number, rate, routes):
    rng = np.random.default_rng(2)
    g = np.round(rng.normal(size=(3, 11)), 1).astype(np.float32)  # of one decimal: many are equal
    g[1] = 0.5
    got = routes.call(f"fixed{number}", {"g": g})
    indices, offsets = ref.route(g, "capacity", rate, 3 * ref.kept(rate, 11))
    assert (got["indices"] == indices).all() and (got["offsets"] == offsets).all()
    for name, dial in (("capacity", rate), ("threshold", np.float32(rate))):
        got = routes.call(name, {"g": g, "dial": np.float32(dial)})
        indices, offsets = ref.route(g, name, dial)
        assert (got["indices"] == indices).all() and (got["offsets"] == offsets).all()
    got = routes.call("quantile", {"g": g, "dial": np.float32(rate)})
    assert (got["thresholds"] == ref.quantile(g, rate).astype(np.float32)).all()


def test_scores_that_are_nan_show(routes):
    g = np.linspace(0.0, 1.0, 33, dtype=np.float32).reshape(3, 11)
    g[2, 4] = np.nan
    assert routes.call(f"fixed{len(RATES) - 1}", {"g": g})["indices"][2] == 26
    assert list(routes.call("threshold", {"g": g, "dial": np.float32(9.0)})["offsets"]) == [0, 0, 0, 1]


def test_selection_on_the_ptx_machine():
    """The same modules on the target cuda: ties, rows of more than a warp, NaN."""
    nag = pytest.importorskip("nag", reason="the Python package is not built: nanobind was not found")
    text = FIXED.format(number=0, rows=3 * ref.kept(0.3, 11), rate=0.3) + ROUTE[ROUTE.index("func.func @quantile"):]
    text = text.replace("3x11", "3x75").replace(f"tensor<{3 * ref.kept(0.3, 11)}xi32>", f"tensor<{3 * ref.kept(0.3, 75)}xi32>")
    program = nag.Model.from_text(text).compile(target="cuda", device="vm")
    g = np.round(np.random.default_rng(4).normal(size=(3, 75)), 1).astype(np.float32)
    g[1] = -0.5
    g[2, 40] = np.nan
    got = {k: program.to_host(x) for k, x in program.call("fixed0", g=program.to_device(g)).items()}
    order = np.where(np.isnan(g), np.inf, g)
    indices, offsets = ref.route(order, "capacity", 0.3, 3 * ref.kept(0.3, 75))
    assert (got["indices"] == indices).all() and (got["offsets"] == offsets).all()
    for rate in RATES:
        found = program.to_host(program.call("quantile", g=program.to_device(g), dial=rate)["thresholds"])
        assert (found[:2] == ref.quantile(order, rate)[:2].astype(np.float32)).all()


TAKE_AND_PUT = """
func.func @f(%x: tensor<2x9xDTYPE> {nag.name = "x"}, %r: tensor<2x9xWIDTHxDTYPE> {nag.name = "r"}, %g: tensor<2x9xf32> {nag.name = "g"})
    -> (tensor<10xWIDTHxDTYPE> {nag.name = "rows"}, tensor<2x9xWIDTHxDTYPE> {nag.name = "rest"},
        tensor<2x9xWIDTHxDTYPE> {nag.name = "put"}, tensor<2x9xDTYPE> {nag.name = "lanes"}) {
  %i, %o = nag.route %g {routing = #nag.routing<capacity, rate = 0.5>} : (tensor<2x9xf32>) -> (tensor<10xi32>, tensor<3xi32>)
  %rows, %rest = nag.take %r, %i, %o
      : (tensor<2x9xWIDTHxDTYPE>, tensor<10xi32>, tensor<3xi32>) -> (tensor<10xWIDTHxDTYPE>, tensor<2x9xWIDTHxDTYPE>)
  %y = nag.relu2 %rows : (tensor<10xWIDTHxDTYPE>) -> tensor<10xWIDTHxDTYPE>
  %put = nag.put %y, %r, %i, %o
      : (tensor<10xWIDTHxDTYPE>, tensor<2x9xWIDTHxDTYPE>, tensor<10xi32>, tensor<3xi32>) -> tensor<2x9xWIDTHxDTYPE>
  %s, %other = nag.take %x, %i, %o : (tensor<2x9xDTYPE>, tensor<10xi32>, tensor<3xi32>) -> (tensor<10xDTYPE>, tensor<2x9xDTYPE>)
  %lanes = nag.put %s, %other, %i, %o : (tensor<10xDTYPE>, tensor<2x9xDTYPE>, tensor<10xi32>, tensor<3xi32>) -> tensor<2x9xDTYPE>
  return %rows, %rest, %put, %lanes : tensor<10xWIDTHxDTYPE>, tensor<2x9xWIDTHxDTYPE>, tensor<2x9xWIDTHxDTYPE>, tensor<2x9xDTYPE>
}
"""


@pytest.mark.parametrize("target", [{}, {"target": "cuda", "device": "vm"}], ids=["cpu", "cuda"])
@pytest.mark.parametrize("width", [7, 64])
def test_rows_are_taken_and_put(width, target):
    nag = pytest.importorskip("nag", reason="the Python package is not built: nanobind was not found")
    program = nag.Model.from_text(TAKE_AND_PUT.replace("WIDTH", str(width)).replace("DTYPE", "f32")).compile(**target)
    rng = np.random.default_rng(6)
    x, r, g = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 9), (2, 9, width), (2, 9)))
    arrays = {"x": x.copy(), "r": r.copy(), "g": g}
    if target:
        arrays = {name: program.to_device(a) for name, a in arrays.items()}
    got = program.call("f", **arrays)
    got = {name: program.to_host(a) for name, a in got.items()} if target else got
    route = ref.route(g, "capacity", 0.5, 10)
    rows, rest = ref.take(r, *route)
    assert (got["rows"] == rows).all() and (got["rest"] == rest).all() and (got["lanes"] == x).all()
    assert np.allclose(got["put"], ref.put(np.maximum(rows, 0.0) ** 2, r, *route), rtol=1e-6)
    skipped = ~ref.executed(g, "capacity", 0.5)
    assert (got["put"][skipped] == r[skipped]).all()

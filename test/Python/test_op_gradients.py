# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What nag-differentiate makes of every differentiable op, run by the slow evaluator, against central differences."""

import functools

import numpy as np
import pytest

import harness
import nag_reference as ref
from nag_reference import check
from nag_reference.interpreter import Machine
from op_cases import DOUBLE, all_cases

DIFFERENTIABLE = {"attention", "cross_entropy", "decode", "embedding", "encode", "gain", "gate", "gelu", "linear",
                  "masked_mean", "modulate", "relu2", "residual_add", "rms_norm", "rotary", "rotate", "swiglu",
                  "temper", "token_loss"}
FOR_THE_BACKWARD_PASS = ("lse", "count")  # results that no loss depends on
INACTIVE = {"scale", "cos", "sin"}
DIRECTIONS = 3
CASES = [case for case in all_cases() if case.op in DIFFERENTIABLE]


def function_name(case):
    return f"case{CASES.index(case)}"


@pytest.fixture(scope="session")
def differentiated(tmp_path_factory):
    """Maps an op to the machine that holds its cases and their gradients; built once."""

    @functools.cache
    def differentiate(op):
        cases = [case for case in CASES if case.op == op]
        path = tmp_path_factory.mktemp(op) / "ops.mlir"
        path.write_text("".join(case.text("f64", function_name(case), FOR_THE_BACKWARD_PASS) for case in cases))
        passes = [f"--nag-differentiate=function={function_name(case)} seeded" for case in cases]
        return Machine(harness.run([harness.build_folder() / "bin" / "nag-opt", path, "--nag-decompose", *passes,
                                    "--mlir-print-op-generic"]))

    return differentiate


def step_length(case):
    """The update bends over sqrt(eps) where the branch has no part across r: the step must be far shorter."""
    return 1e-6 if case.op == "rotate" and ("zero" in case.name or "parallel" in case.name) else 1e-4


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_gradient(case, differentiated):
    kept = [name for name in case.results if name not in FOR_THE_BACKWARD_PASS]
    rng = np.random.default_rng(11)
    cotangents = [rng.standard_normal(case.results[name].shape) for name in kept]
    seeds = {f"cotangent:{i}": np.asarray(c) for i, c in enumerate(cotangents)}
    grads = differentiated(case.op).call(function_name(case) + ".gradients", case.arguments("f64") | seeds)
    names = list(case.inputs)

    def objective(*values):
        results = case.compute(**dict(zip(names, values)))
        return sum(np.sum(c * results[name]) for c, name in zip(cotangents, kept))

    for index, (name, x) in enumerate(case.inputs.items()):
        if x.dtype == np.int32 or name in INACTIVE:
            continue
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(x.shape)
            expected = check.along(objective, list(case.inputs.values()), index, direction, step_length(case))
            assert ref.relative_error(np.sum(grads["grad:" + name] * direction), expected, 1e-2) <= DOUBLE, name

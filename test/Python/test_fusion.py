# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The same model compiled with and without what -nag-fuse, -nag-lower-to-row-gram and -nag-lower-head do."""

import re
from dataclasses import replace

import numpy as np
import pytest

import harness
import nag_reference as ref
from models import CONFIGS, inputs_of, start, write_model
from program_checks import check_accumulate, check_apply, check_gradients

FORMS = {
    "fused": [],
    "unfused": ["--fuse=false"],
    "row-gram": ["--row-gram"],
    "row-gram unfused": ["--row-gram", "--fuse=false"],
    "chunks": ["--head-bytes=800"],
}
CONFIG = replace(CONFIGS["nag"], batch=4)
PRENORM = replace(CONFIGS["prenorm"], batch=4)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fusion")
    compiled = {}

    def program(residual, form):
        config = CONFIG if residual == "nag" else PRENORM
        if (residual, form) not in compiled:
            path = folder / f"{residual}.mlir"
            write_model(config, "f64", path)
            compiled[residual, form] = config, harness.compile_file(path, folder / residual / form, FORMS[form])
        return compiled[residual, form]

    return program


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("residual", ["nag", "prenorm"])
def test_gradients(programs, residual, form):
    config, program = programs(residual, form)
    params = start(config)
    check_gradients(config, params, program.call("gradients", inputs_of(config, params, np.float64)))


@pytest.mark.parametrize("form", ["fused", "unfused"])
def test_optimizer(programs, form):
    config, program = programs("nag", form)
    params = start(config)
    results = program.call("gradients", inputs_of(config, params, np.float64))
    grads = {name: x for name, x in results.items() if name.startswith("grad:")}
    check_apply(config, params, grads, program.call)
    check_accumulate(grads, program.call)


def test_forms_agree_to_rounding(programs):
    params = start(CONFIG)
    results = {form: programs("nag", form)[1].call("gradients", inputs_of(CONFIG, params, np.float64))
               for form in FORMS}
    for form, got in results.items():
        for name, expected in results["unfused"].items():
            assert ref.relative_error(got[name], expected) <= 1e-12, (form, name)


def launches(folder, *settings):
    path = folder / "model.mlir"
    nagc = harness.build_folder() / "bin" / "nagc"
    harness.run([nagc, "model", "--preset", "tiny", *(f"--set={s}" for s in settings), "-o", path])
    text = harness.run([nagc, "compile", path, "--target", "cpu", "--emit", "mlir", "--report-launches", "-o", folder])
    counts = {name: int(count) for name, count in re.findall(r"launches @(\w+): (\d+)", text)}
    return counts["train_step"], int(re.search(r"distinct kernels: (\d+)", text)[1])


def test_launches_of_a_step(tmp_path):
    few, kernels = launches(tmp_path, "layers=5", "seq=8", "batch=2")
    many, same_kernels = launches(tmp_path, "layers=10", "seq=8", "batch=2")
    assert few <= 20 * 5 + 12 and many <= 20 * 10 + 12
    assert kernels == same_kernels

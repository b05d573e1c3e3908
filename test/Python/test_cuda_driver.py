# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What nagc says when the CUDA driver is missing, old or fails, when the PTX machine finds a fault, and what it keeps of
compiled kernels. A library of the test's own stands in the driver's place."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import ptx_machine
from sessions import TEXT, assert_one_line, nagc, write_model

SOURCE = Path(__file__).with_name("fake_driver.c")


def build_driver(folder, *options):
    folder.mkdir(parents=True)
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", *options, "-o", folder / "libcuda.so.1", SOURCE]
    subprocess.run([str(part) for part in command], check=True)
    return folder


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """A folder whose libcuda.so.1 is the fake."""
    return build_driver(tmp_path_factory.mktemp("driver") / "whole")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.mlir")


def train(model, library_folder, *options, **environment):
    environment = {"LD_LIBRARY_PATH": str(library_folder)} | {name: str(value) for name, value in environment.items()}
    return nagc("train", model, "--data", TEXT, "--steps", 1, "--target", "cuda", *options, env=os.environ | environment)


def test_without_a_driver(model, tmp_path):
    assert_one_line(train(model, tmp_path), "no CUDA driver: ", "libcuda.so.1")


@pytest.mark.parametrize("environment, message", [
    ({"FAKE_VERSION": 11080}, "libcuda.so.1: expected a driver for CUDA 12.0 or later, but got CUDA 11.8"),
    ({"FAKE_INIT": 100}, "cuInit: CUDA_ERROR_NO_DEVICE (100): no CUDA-capable device is detected"),
    ({"FAKE_MAJOR": 7}, "expected a device that runs code for sm_80, but got Fake, sm_70"),
    ({"FAKE_MODULE": 218}, "line 9; fatal : no such instruction: CUDA_ERROR_OTHER (218)"),
    ({"FAKE_LAUNCH": 719}, "at the launch of kernel '"),
])
def test_a_driver_that_fails(environment, message, model, driver):
    assert_one_line(train(model, driver, **environment), message)


def test_code_for_another_chip(model, driver):
    assert_one_line(train(model, driver, "--chip", "sm_90a", FAKE_MAJOR=10), "expected a device that runs code for sm_90a")


def test_code_for_the_chip_of_the_device(model, driver, tmp_path):
    """Without --chip; what is compiled stays in the cache though no launch succeeds."""
    for major, chip in ((8, "sm_80"), (9, "sm_90a")):
        folder = tmp_path / chip
        assert_one_line(train(model, driver, "--kernel-cache", folder, FAKE_MAJOR=major, FAKE_LAUNCH=719), "at the launch of kernel '")
        kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert any(f".target {chip}\n".encode() in code for code in kept)


def test_a_device_that_is_not_there(model, driver):
    assert_one_line(train(model, driver, "--device", 1), "device 1: expected a number below 1, the number of GPUs")


def test_a_driver_without_a_function(model, tmp_path):
    folder = build_driver(tmp_path / "part", "-DWITHOUT_LAUNCH")
    assert_one_line(train(model, folder), "libcuda.so.1: expected a CUDA driver of version 12.0 or later, but it has no "
                    "cuLaunchKernel")


#===- Findings of the PTX machine --------------------------------------------===#

LOOKUP = """
func.func @f(%s: tensor<3xi32> {nag.name = "t"}, %w: tensor<5x4xf32> {nag.name = "w"})
    -> (tensor<1x3x4xf32> {nag.name = "x"}) {
  %t = tensor.expand_shape %s [[0, 1]] output_shape [1, 3] : tensor<3xi32> into tensor<1x3xi32>
  %x = nag.embedding %t, %w : (tensor<1x3xi32>, tensor<5x4xf32>) -> tensor<1x3x4xf32>
  return %x : tensor<1x3x4xf32>
}
"""


def look_up(folder, tokens):
    """Rows of a table: a token behind its end is read where there is no memory. (Only arguments themselves are checked before a call.)"""
    (folder / "module.mlir").write_text(LOOKUP)
    ptx_machine.save(folder / "in.safetensors", {"t": np.asarray(tokens, np.int32), "w": np.ones((5, 4), np.float32)})
    return nagc("run", folder / "module.mlir", "--target", "cuda", "--device", "vm", "--call",
                f"f:{folder}/in.safetensors:{folder}/out.safetensors")


def test_a_fault_in_a_kernel_is_an_error(tmp_path):
    assert_one_line(look_up(tmp_path, [0, 5000, 1]), "kernel '", "out-of-bounds: ", "PTX line ", "thread (")
    assert not (tmp_path / "out.safetensors").exists()


def test_no_fault_is_none(tmp_path):
    result = look_up(tmp_path, [0, 4, 1])
    assert result.returncode == 0 and result.stderr == ""


#===- The kernel cache -------------------------------------------------------===#


def entries(folder):
    return sorted(folder.glob("llvmcache-*.ptx"))


def train_on_machine(model, cache, *options, **environment):
    result = nagc("train", model, "--data", TEXT, "--steps", 1, "--target", "cuda", "--device", "vm", *options,
                  *(() if cache is None else ("--kernel-cache", cache)), env=os.environ | environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_kernels_are_kept(model, tmp_path):
    cache = tmp_path / "deep" / "cache"
    first = train_on_machine(model, cache)
    entry, = entries(cache)
    written = entry.stat().st_mtime_ns
    assert ".visible .entry" in entry.read_text()
    assert loss(train_on_machine(model, cache)) == loss(first)
    assert entries(cache) == [entry] and entry.stat().st_mtime_ns == written


def loss(output):
    """What nagc prints of a step, but for times."""
    return [word for word in output.split() if "tok" not in word][:4]


def test_what_is_kept_is_what_is_run(model, tmp_path):
    """An entry that another program has made, with its digest, is believed: the machine then refuses its text."""
    train_on_machine(model, tmp_path)
    entry, = entries(tmp_path)
    text = "not PTX\n"
    import hashlib
    entry.write_text(f"// nag kernel cache 1 {hashlib.sha256(text.encode()).hexdigest()}\n{text}")
    result = nagc("train", model, "--data", TEXT, "--steps", 1, "--target", "cuda", "--device", "vm", "--kernel-cache", tmp_path)
    assert_one_line(result, "CUDA_ERROR_INVALID_PTX")


@pytest.mark.parametrize("spoil", [lambda text: text[:-100], lambda text: text[:2000] + "x" + text[2001:], lambda text: "",
                                   lambda text: text.replace("cache 1", "cache 0")], ids=["cut", "changed", "empty", "older"])
def test_a_spoiled_entry_is_made_anew(spoil, model, tmp_path):
    train_on_machine(model, tmp_path)
    entry, = entries(tmp_path)
    whole = entry.read_text()
    entry.write_text(spoil(whole))
    train_on_machine(model, tmp_path)
    assert entry.read_text() == whole


def test_the_key_is_content_and_options(model, tmp_path):
    train_on_machine(model, tmp_path)
    other = write_model(tmp_path / "other.mlir", "hidden=100")
    for number, (graph, options) in enumerate([(other, ()), (model, ("--chip", "sm_90a")), (model, ("--precision", "tf32")),
                                               (model, ("--precision", "bf16"))]):
        train_on_machine(graph, tmp_path, *options)
        assert len(entries(tmp_path)) == number + 2
    copy = tmp_path / "copy.mlir"
    copy.write_text(model.read_text())
    train_on_machine(copy, tmp_path)
    assert len(entries(tmp_path)) == 5


def test_the_users_cache(model, tmp_path):
    train_on_machine(model, None, XDG_CACHE_HOME=str(tmp_path))
    assert len(entries(tmp_path / "nag")) == 1
    train_on_machine(model, "", XDG_CACHE_HOME=str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_a_folder_that_is_a_file(model, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ("train", model, "--data", TEXT, "--steps", 1, "--target", "cuda", "--device", "vm")
    assert_one_line(nagc(*arguments, "--kernel-cache", tmp_path / "file"), f"{tmp_path}/file: ")
    # The user's own does no harm.
    train_on_machine(model, None, XDG_CACHE_HOME=str(tmp_path / "file"))


def test_the_cpu_keeps_no_kernels(model, tmp_path):
    result = nagc("train", model, "--data", TEXT, "--steps", 1, "--kernel-cache", tmp_path)
    assert_one_line(result, "--kernel-cache: expected no kernel cache for the target cpu", code=2)

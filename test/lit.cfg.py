# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""lit configuration: text tests here, gtest binaries under test/unit."""

import os
import subprocess

import lit.formats

config.name = "nag"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test", ".ptx"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.nag_build, "test")
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.nag_build, "bin"), config.llvm_tools, os.environ["PATH"]]
)
# Where nagc keeps kernels: not in the user's home.
config.environment["XDG_CACHE_HOME"] = os.path.join(config.nag_build, "test", "cache")
# `--param roundtrip=1`: the tests of passes and ops alone, whose input must also survive printing and parsing, as text and
# as bytecode.
if lit_config.params.get("roundtrip"):
    config.suffixes = [".mlir"]
    config.test_exec_root = os.path.join(config.nag_build, "test-roundtrip")
    config.substitutions.append(("nag-opt", "nag-opt --verify-roundtrip"))
config.substitutions.append(("%python", config.python))
config.substitutions.append(("%source", config.nag_source))
config.substitutions.append(("%build", config.nag_build))
if os.path.exists("/usr/local/cuda/bin/ptxas"):
    config.available_features.add("ptxas")
    config.environment["PATH"] += os.pathsep + "/usr/local/cuda/bin"
if os.path.exists("/usr/local/cuda/bin/nvcc"):
    config.available_features.add("nvcc")
if subprocess.run([config.python, "-c", "import triton"], capture_output=True).returncode == 0:
    config.available_features.add("triton")
# A library that needs the sanitizers' runtime cannot be loaded into a program that lacks it.
if getattr(config, "nag_sanitize", False):
    config.available_features.add("sanitize")

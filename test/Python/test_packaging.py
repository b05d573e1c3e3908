# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The installed tree: it moves, a foreign project links it, and the Python package builds against it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parents[2]


def run(*command, **options):
    result = subprocess.run([str(x) for x in command], capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}{result.stderr[-3000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Installed in one place, then moved to another."""
    folder = tmp_path_factory.mktemp("install")
    run("cmake", "--install", harness.build_folder(), "--prefix", folder / "first", "--component", "nag")
    (folder / "first").rename(folder / "moved")
    return folder / "moved"


def test_the_tools_run_where_they_were_moved(installed, tmp_path):
    text = run(installed / "bin" / "nagc", "model", "--preset", "tiny", cwd=tmp_path)
    assert "func.func @loss" in text
    assert "nag-fuse" in run(installed / "bin" / "nag-opt", "--help")
    devices = ("import ctypes; d = ctypes.CDLL('libcuda.so.1'); n = ctypes.c_int(); d.cuInit(0); "
               "d.cuDeviceGetCount(ctypes.byref(n)); print(n.value)")
    assert run(installed / "bin" / "ptx-vm", "exec", "--", sys.executable, "-c", devices) == "1\n"
    (tmp_path / "tiny.mlir").write_text(run(installed / "bin" / "nagc", "model", "--set", "layers=1", "--set", "width=16", "--set",
                                            "heads=1", "--set", "seq=8", "--set", "batch=1", "--set", "gate_directions=4"))
    for target in ((), ("--target", "cuda", "--device", "vm")):
        run(installed / "bin" / "nagc", "train", tmp_path / "tiny.mlir", "--data", ROOT / "README.md", "--steps", "1",
            "--val-interval", "0", *target)


def test_nothing_installed_names_the_source_tree(installed):
    for path in installed.rglob("*.cmake"):
        assert str(ROOT) not in path.read_text(), path


def test_a_foreign_project_embeds_the_compiler(installed, tmp_path):
    run("cmake", "-G", "Ninja", "-S", ROOT / "examples" / "cpp", "-B", tmp_path / "build", "-DCMAKE_BUILD_TYPE=Release",
        f"-DNag_DIR={installed / 'lib' / 'cmake' / 'nag'}")
    run("cmake", "--build", tmp_path / "build")
    output = run(tmp_path / "build" / "embed", ROOT / "README.md", "12")
    assert output.startswith("step 12: loss ")
    failed = subprocess.run([tmp_path / "build" / "embed", "none"], capture_output=True, text=True)
    assert failed.returncode == 1 and "No such file" in failed.stderr


USE = """
import importlib.metadata, nag, numpy as np
f = nag.ModuleBuilder().function("f", x="tensor<4x8xf32>")
f.returns(y=f.op("nag.relu2", f.x))
for target in ({}, {"target": "cuda", "device": "vm"}):
    program = nag.Model.from_text(f.text()).compile(**target)
    x = program.to_device(np.ones((4, 8), np.float32)) if target else np.ones((4, 8), np.float32)
    assert (program.to_host(program.call("f", x=x)["y"]) if target else program.call("f", x=x)["y"]).sum() == 32
assert importlib.metadata.version("nag") == nag.__version__
print(nag.__file__)
"""


def test_pip_installs_the_package(tmp_path):
    """`pip install .` with what this build has compiled already: pip makes the wheel and installs it in a place of its own."""
    pytest.importorskip("nag")
    run(sys.executable, "-m", "pip", "install", ROOT, "--no-build-isolation", "--no-deps", "--no-index", "--target", tmp_path / "site",
        "-C", "cmake.source-dir=python", "-C", "build-dir=" + str(tmp_path / "build"), "-C", "build.targets=all",
        "-C", f"cmake.define.NAG_PREBUILT={harness.build_folder() / 'python'}")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(tmp_path / "site")}
    text = run(sys.executable, "-c", USE, env=environment, cwd=tmp_path)
    assert text.startswith(str(tmp_path / "site"))
    package = tmp_path / "site" / "nag"
    assert (package / "py.typed").exists() and "class Model" in (package / "_core.pyi").read_text()
    # What CMake installs as the component `python` is what the wheel held.
    run("cmake", "--install", harness.build_folder(), "--prefix", tmp_path / "component", "--component", "python")
    names = lambda folder: {p.name for p in folder.iterdir() if p.name != "__pycache__"}
    assert names(tmp_path / "component" / "nag") == names(package)


def tool(name):
    return harness.build_folder() / "bin" / name


@pytest.mark.parametrize("name", ["nagc", "nag-opt", "ptx-vm"])
def test_the_version_says_what_was_built(name):
    text = run(tool(name), "--version")
    assert re.match(rf"{name} 0\.1\.0 \(commit [0-9a-f]{{7,}}(-dirty)?, \w+ build\)\nLLVM 22\.", text), text
    if name == "nagc":
        assert "targets: cpu, cuda" in text


def subcommands(name):
    """Those that the tool's help lists."""
    general = run(tool(name), "--help")
    return [line.split()[0] for line in general.split("SUBCOMMANDS:")[1].split("Type ")[0].splitlines()
            if line.startswith("  ") and " - " in line]


def options_in_help(*command):
    """Long options, with dashes, that a --help names; LLVM's generic ones too."""
    text = run(*command, "--help").split("OPTIONS:")[1].split("EXAMPLES:")[0]
    return set(re.findall(r"^  (--?[\w-]+)", text, re.M)) - {"-"}


@pytest.mark.parametrize("name, expected", [
    ("nagc", {"model", "compile", "train", "eval", "generate", "flops", "report", "import", "export", "run", "completion"}),
    ("ptx-vm", {"run", "list", "exec"})])
def test_every_subcommand_explains_itself_with_examples(name, expected):
    names = subcommands(name)
    assert expected <= set(names)
    general = run(tool(name), "--help")
    assert "EXAMPLES:" in general and len(general.splitlines()) < 60  # without the options of LLVM's libraries
    for subcommand in names:
        text = run(tool(name), subcommand, "--help")
        assert f"EXAMPLES:\n  {name} {subcommand} " in text or f"source <(nagc {subcommand})" in text, subcommand
        assert "USAGE:" in text
        known = options_in_help(tool(name), subcommand)
        for line in text.split("EXAMPLES:")[1].splitlines():
            words = line.split(" -- ")[0].split()
            if words[:2] == [name, subcommand]:
                used = {w.split("=")[0] for w in words if w.startswith("--")}
                assert used <= known, (line, used - known)


def test_nag_opt_explains_itself_with_examples():
    text = run(tool("nag-opt"), "--help")
    known = set(re.findall(r"^ +(--[\w-]+)", text, re.M))
    examples = re.findall(r"^  nag-opt .*", text.split("EXAMPLES:")[1], re.M)
    assert len(examples) >= 4
    for line in examples:
        assert {w.split("=")[0] for w in line.split() if w.startswith("--")} <= known | {"--verify-roundtrip"}, line


def test_completions_are_what_the_help_says():
    """Each subcommand, and each option of each subcommand; nothing else."""
    script = run(tool("nagc"), "completion")
    offered = {line.split(")")[0].strip(): set(line.split('"')[1].split()) for line in script.splitlines()
               if "options=\"" in line and ")" in line}
    assert set(offered) == set(subcommands("nagc"))
    generic = {"--help", "--help-list", "--help-hidden", "--help-list-hidden", "--version"}
    for name, options in offered.items():
        assert options - generic == options_in_help(tool("nagc"), name) - generic, name


def complete(script, words):
    """What bash would offer behind these words."""
    text = (f"source {script}\nCOMP_WORDS=({' '.join(json.dumps(w) for w in words)})\nCOMP_CWORD={len(words) - 1}\n"
            "_nagc\nprintf '%s\\n' \"${COMPREPLY[@]}\"")
    return run("bash", "-c", text).split()


def test_bash_completes(tmp_path):
    script = tmp_path / "nagc.bash"
    script.write_text(run(harness.build_folder() / "bin" / "nagc", "completion"))
    assert complete(script, ["nagc", "tr"]) == ["train"]
    assert complete(script, ["nagc", "train", "--chec"]) == ["--checkpoint-dir", "--checkpoint-interval"]
    assert "model.mlir" in complete_in(tmp_path, script)


def complete_in(folder, script):
    (folder / "model.mlir").write_text("")
    text = f"cd {folder}; source {script}; COMP_WORDS=(nagc train mod); COMP_CWORD=2; _nagc; echo \"${{COMPREPLY[@]}}\""
    return run("bash", "-c", text).split()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The installed tree: it moves, a foreign project links it, and the Python package builds against it."""

import json
import os
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


def test_a_wheel_holds_the_package(tmp_path):
    """`pip install .` in short: the package's files of this build as the wheel would hold them."""
    pytest.importorskip("nag")
    run("cmake", "--install", harness.build_folder(), "--prefix", tmp_path, "--component", "python")
    environment = dict(os.environ, PYTHONPATH=str(tmp_path))
    text = run(sys.executable, "-c", "import nag; print(nag.__file__, nag.__version__, len(nag.Model(layers=1).text))",
               env=environment, cwd=tmp_path)
    assert text.startswith(str(tmp_path))
    assert (tmp_path / "nag" / "py.typed").exists() and "class Model" in (tmp_path / "nag" / "_core.pyi").read_text()


def test_the_version_says_what_was_built():
    text = run(harness.build_folder() / "bin" / "nagc", "--version")
    assert text.startswith("nagc 0.1.0 (commit ") and "LLVM 22." in text and "targets: cpu" in text


def test_every_subcommand_explains_itself_with_examples():
    nagc = harness.build_folder() / "bin" / "nagc"
    general = run(nagc, "--help")
    names = [line.split()[0] for line in general.split("SUBCOMMANDS:")[1].split("Type ")[0].splitlines()
             if line.startswith("  ") and " - " in line]
    assert {"model", "compile", "train", "eval", "generate", "flops", "report", "import", "export"} <= set(names)
    assert "EXIT STATUS" in general
    for name in names:
        text = run(nagc, name, "--help")
        assert f"EXAMPLES:\n  nagc {name} " in text or f"source <(nagc {name})" in text, name


def test_examples_of_the_help_use_options_that_exist():
    nagc = harness.build_folder() / "bin" / "nagc"
    script = run(nagc, "completion")
    options = {line.split(")")[0].strip(): set(line.split('"')[1].split()) for line in script.splitlines()
               if "options=\"" in line and ")" in line}
    for name, known in options.items():
        for line in run(nagc, name, "--help").split("EXAMPLES:")[1].splitlines():
            words = line.split()
            if words[:2] == ["nagc", name]:
                used = {w for w in words if w.startswith("--")}
                assert used <= known, (line, used - known)


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

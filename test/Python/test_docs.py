# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The documentation: the site builds without a warning, and what its pages show runs.

Each page's blocks of `sh` and `python` run in order in a folder of the page's own, with the built tools on PATH. A block
is left out only where an HTML comment above it begins with "not run:" and says why; "runs with torch" stands above what
needs torch, "printed by the block above" above lines that the block before has printed. Blocks of `text` are formulas and
diagrams. Long training is shortened: `--steps N` and `steps=N` run with N / 100, at least 2.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import test_torch

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"(?:<!-- ([^>]*) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
NOT_RUN = {"text", "mlir", "json", "pycon"}


def blocks(page):
    """(language, text, note) of every block."""
    return [(language, text, note or "") for note, language, text in FENCE.findall(page.read_text())]


def shorten(text):
    return re.sub(r"(--steps |\bsteps=)(\d+)", lambda m: f"{m[1]}{max(2, int(m[2]) // 100)}", text)


def environment():
    build = Path(os.environ["NAG_BUILD"])
    path = os.pathsep.join([str(build / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return dict(os.environ, PATH=path, PYTHONPATH=str(build / "python"))


def run(command, text, folder):
    result = subprocess.run([*command, text], cwd=folder, env=environment(), capture_output=True, timeout=300, text=True,
                            errors="replace")
    assert result.returncode == 0, f"{text}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
    return result.stdout + result.stderr


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "troubleshooting.md"], ids=lambda p: p.name)
def test_what_a_page_shows_runs(page, tmp_path):
    for name in ("README.md", "examples", "scripts"):
        os.symlink(ROOT / name, tmp_path / name)
    (tmp_path / "README").write_text("The text that commands of the documentation read.\n" * 50)
    python, output = [], ""
    for language, text, note in blocks(page):
        if note.startswith("printed by the block above"):
            assert text.strip() and all(line in output for line in text.splitlines()), f"{page.name}: {text}\n{output}"
            continue
        if note.startswith("not run:") or language in NOT_RUN:
            continue
        assert language in ("sh", "python"), f"{page.name}: a block of '{language}' that no test runs"
        if language == "sh":
            output = run(["bash", "-euo", "pipefail", "-c"], shorten(text), tmp_path)
        elif note.startswith("runs with torch"):
            if torch := test_torch.find_python():
                run([torch, "-c"], shorten(text), tmp_path)
        else:
            python.append(shorten(text))
    if python:  # one program per page: later blocks use names of earlier ones
        pytest.importorskip("nag")
        run([sys.executable, "-c"], "\n".join(python), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_block_says_what_it_is(page):
    """No block of indented lines: nothing could tell a command from a formula there."""
    outside, before, blank = FENCE.sub("", page.read_text()), "", True
    for line in outside.splitlines():
        inside_list = re.match(r"\s*([-*]|\d+\.) | ", before)
        assert not (blank and line.startswith("    ") and not inside_list), f"{page.name}: an indented block: {line}"
        blank, before = not line.strip(), line if line.strip() else before


def test_messages_of_the_troubleshooting_page_appear(tmp_path):
    """Each heading is a message; the block below it provokes it."""
    (tmp_path / "README").write_text("The text that commands of the documentation read.\n" * 50)
    sections = re.split(r"^## ", (ROOT / "docs" / "troubleshooting.md").read_text(), flags=re.M)[1:]
    checked = 0
    for section in sections:
        message = section.splitlines()[0].split(" ... ")[0]
        for note, language, text in FENCE.findall(section):
            if note.startswith("not run:") or (note.startswith("runs with torch") and not test_torch.find_python()):
                continue
            python = test_torch.find_python() if note else sys.executable
            output = run(["bash", "-euo", "pipefail", "-c"] if language == "sh" else [python, "-c"], text, tmp_path)
            assert message in output, f"{message}\n{output}"
            checked += 1
    assert checked >= 18


def test_the_site_builds(tmp_path):
    mkdocs = Path(sys.executable).parent / "mkdocs"
    if not mkdocs.exists():
        pytest.skip("no mkdocs: scripts/requirements.txt has it")
    result = subprocess.run([mkdocs, "build", "--strict", "--quiet", "--site-dir", tmp_path], cwd=ROOT, capture_output=True,
                            text=True, env=dict(os.environ, NO_MKDOCS_2_WARNING="1", DISABLE_MKDOCS_2_WARNING="true"))
    assert result.returncode == 0, result.stdout + result.stderr
    index = (tmp_path / "index.html").read_text()
    assert "Tutorial" in index and (tmp_path / "reference" / "python" / "index.html").exists()
    # The page needs no network but for the theme's own files.
    assert not re.search(r'<(script|link)[^>]+(src|href)="https?://(?!localhost)[^"]*\.(js|css)', index)


def test_examples_run(tmp_path):
    pytest.importorskip("nag")
    output = subprocess.run([sys.executable, ROOT / "examples" / "train.py", ROOT / "README.md", "12"], cwd=tmp_path,
                            env=environment(), capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    assert re.search(r"step 12: loss \d", output.stdout) and "The " in output.stdout
    torch = test_torch.find_python()
    if torch is None:
        return
    output = subprocess.run([torch, ROOT / "examples" / "torch_swap.py", ROOT / "README.md", "12"], cwd=tmp_path,
                            env=environment(), capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    assert len(re.findall(r"loss \d", output.stdout)) == 2

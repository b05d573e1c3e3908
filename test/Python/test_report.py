# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`nagc report`: the page holds the runs' numbers, refers to nothing outside itself, and draws them in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

import harness

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
VOID = {"meta", "br", "hr", "img", "input", "link"}
SUB_LAYERS = 4
STEPS = 60


class Page(HTMLParser):
    """The elements of a page in order, with their text; checks that tags close as they open."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(text)
        self.close()
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", **{f"@{key}": value for key, value in attrs}}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.open[-1]["text"] += data

    def find(self, tag, **attributes):
        wanted = {f"@{key.rstrip('_')}": value for key, value in attributes.items()}
        return [e for e in self.elements if e["tag"] == tag and wanted.items() <= e.items()]


def nagc(*arguments):
    return harness.run([harness.build_folder() / "bin" / "nagc", *arguments])


def train(folder, name, residual):
    model, run = folder / f"{name}.mlir", folder / name
    nagc("model", "--residual", residual, "--set", "layers=2", "--set", "width=32", "--set", "heads=2", "--set",
         "seq=16", "--set", "batch=2", "-o", model)
    nagc("train", model, "--data", __file__, "--steps", STEPS, "--val-interval", 20, "--gate-interval", 5,
         "--checkpoint-dir", run)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return [train(folder, "rotating", "nag"), train(folder, "adding", "prenorm")]


@pytest.fixture(scope="module")
def page(runs):
    path = runs[0].parent / "report.html"
    nagc("report", *runs, "-o", path, "--title", "a < b & c")
    return path


def read_log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def data_of(page):
    (script,) = Page(page.read_text()).find("script", id="data")
    return json.loads(script["text"])["runs"]


def test_the_page_holds_the_numbers_of_the_logs(page, runs):
    for run, data in zip(runs, data_of(page), strict=True):
        log = read_log(run)
        assert data["name"] == run.name
        assert data["config"]["width"] == 32
        assert data["numbers"]["loss"] == {"steps": [x["step"] for x in log], "values": [x["loss"] for x in log]}
        assert data["numbers"]["val_loss"] == {"steps": [20, 40, 60],
                                               "values": [x["val_loss"] for x in log if "val_loss" in x]}
        assert data["numbers"]["seconds.gradients"]["values"] == [x["seconds"]["gradients"] for x in log]
    gates = data_of(page)[0]["lists"]["gates.mean"]
    assert gates["steps"] == list(range(5, STEPS + 1, 5))
    assert gates["rows"] == [x["gates"]["mean"] for x in read_log(runs[0]) if "gates" in x]
    assert all(len(row) == SUB_LAYERS for row in gates["rows"])
    sample = data_of(page)[0]["lists"]["sample.gates"]
    assert sample["steps"] == [STEPS] and len(sample["rows"][0]) == 16 * SUB_LAYERS
    norms = data_of(page)[1]["lists"]
    assert norms.keys() == {"residual.log_norm"}
    assert norms["residual.log_norm"]["rows"] == [x["residual"]["log_norm"] for x in read_log(runs[1]) if "residual" in x]
    assert all(len(row) == SUB_LAYERS + 1 for row in norms["residual.log_norm"]["rows"])


def test_the_page_stands_alone(page):
    text = page.read_text()
    parsed = Page(text)
    assert parsed.find("title")[0]["text"] == parsed.find("h1")[0]["text"] == "a < b & c"
    assert not [e for e in parsed.elements if "@src" in e or "@href" in e]
    assert set(re.findall(r"\w+://[^\s\"'<)]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_long_runs_are_thinned(tmp_path):
    log = tmp_path / "long.jsonl"
    lines = [{"step": i, "loss": float(i % 2), "gates": {"mean": [i / 1e4] * 3}} for i in range(1, 10001)]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 10001, "lo')
    nagc("report", log, "-o", tmp_path / "report.html")
    (run,) = data_of(tmp_path / "report.html")
    assert run["name"] == "long" and run["config"] is None
    loss, gates = run["numbers"]["loss"], run["lists"]["gates.mean"]
    assert len(loss["steps"]) == 1000 and loss["steps"][-1] == 10000 and set(loss["values"]) == {0.5}
    assert len(gates["steps"]) == 120 and gates["steps"][0] == 1 and gates["rows"][-1] == [1.0] * 3


def read_source():
    """What the runs trained on, with what the page shows as dots."""
    with open(__file__) as file:
        return "".join(c if c.isprintable() and c.isascii() else "\n" for c in file.read())


def drawn(path):
    """The document after its program has run; fails when that reports an error."""
    result = subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                             f"--user-data-dir={path.parent / 'profile'}", "--dump-dom", path.as_uri()],
                            capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in result.stderr, result.stderr
    return result.stdout


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium (Debian: apt-get install chromium)")


@needs_browser
def test_a_browser_draws_the_charts(page):
    parsed = Page(drawn(page))
    titles = [e["text"] for e in parsed.find("h2")]
    assert titles == ["Runs", "Training loss", "Validation loss", "Learning rate", "Gradient norm", "Tokens per second",
                      "Time of a step", "Gates: rotating", "Tokens at the floor: rotating", "Tokens by sub-layer: rotating",
                      "Rotation by depth",
                      "Log-norm by depth"]
    charts = parsed.find("svg")
    assert len(charts) == len(titles) - 1
    assert all(chart["@role"] == "img" and chart["@aria-label"] for chart in charts)
    curves = [e["@d"] for e in parsed.find("path", class_="curve")]
    assert curves[0].count("L") == STEPS - 1 and curves[2].count("L") == 2
    # Five charts of two runs; the rotation of the one; log-norm against the residual's norm of the other.
    assert len(curves) == 2 * 5 + 1 + 2 and not any("NaN" in curve for curve in curves)
    assert all(curve.count("L") == SUB_LAYERS - 1 for curve in curves[-3:])
    assert len(parsed.find("rect", class_="cell")) == 2 * SUB_LAYERS * STEPS // 5
    assert len(parsed.find("rect", class_="bar")) == 2 * 3
    assert len(parsed.find("rect", class_="token")) == 16 * SUB_LAYERS
    letters = "".join(e["text"] for e in parsed.find("text", class_="letter"))
    assert len(letters) == 16 and letters.replace("\u00b7", "\n") in read_source()


@pytest.fixture(scope="module")
def routed_page(tmp_path_factory):
    """A routed run, of 6 sub-layers of which the outer layers' are executed by every token, and its page."""
    folder = tmp_path_factory.mktemp("routed")
    nagc("model", "--mod-policy", "capacity", "--mod-rate", 0.25, *(f"--set={s}" for s in (
        "layers=3", "width=32", "heads=2", "seq=16", "batch=2")), "-o", folder / "model.mlir")
    nagc("train", folder / "model.mlir", "--data", __file__, "--steps", 4, "--val-interval", 0, "--gate-interval", 2,
         "--checkpoint-dir", folder / "run")
    nagc("report", folder / "run", "-o", folder / "report.html")
    return folder / "report.html"


def test_routed_runs_say_what_was_skipped(routed_page):
    lists = data_of(routed_page)[0]["lists"]
    assert lists["skips"]["rows"] == [[0, 0, 0.25, 0.25, 0, 0]] * 2
    executed, gates = (lists[f"sample.{name}"]["rows"][0] for name in ("executed", "gates"))
    for layer in range(6):
        row = executed[16 * layer:16 * (layer + 1)]
        scores = gates[16 * layer:16 * (layer + 1)]
        assert sum(row) == (12 if layer in (2, 3) else 16)
        skipped = [s for s, e in zip(scores, row) if not e]
        assert not skipped or max(skipped) <= min(s for s, e in zip(scores, row) if e)


@needs_browser
def test_a_browser_draws_what_was_skipped(routed_page):
    parsed = Page(drawn(routed_page))
    titles = [e["text"] for e in parsed.find("h2")]
    assert "Skipped tokens" in titles and "Tokens by sub-layer" in titles
    tokens = parsed.find("rect", class_="token")
    assert len(tokens) == 6 * 16 and sum("--heat-none" in e["@style"] for e in tokens) == 2 * 4


@needs_browser
def test_values_that_are_not_finite_are_gaps(tmp_path):
    (tmp_path / "log.jsonl").write_text("".join(
        json.dumps({"step": i, "loss": None if i == 3 else 1 / i}) + "\n" for i in range(1, 6)))
    nagc("report", tmp_path, "-o", tmp_path / "report.html")
    assert data_of(tmp_path / "report.html")[0]["numbers"]["loss"]["values"][2] is None
    curve = Page(drawn(tmp_path / "report.html")).find("path", class_="curve")[0]["@d"]
    assert curve.count("M") == 2 and curve.count("L") == 2

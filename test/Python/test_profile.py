# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""`nagc profile` and `nagc tune`: counts that can be derived by hand, sums that agree, a page that draws, schedules that are taken."""

import json
import os
import re
import subprocess

import pytest

import harness
from test_report import Page, drawn, needs_browser

NAGC = harness.build_folder() / "bin" / "nagc"
GEMM = """
func.func @gemm(%a: tensor<256x128xbf16> {nag.name = "a"}, %b: tensor<192x128xbf16> {nag.name = "b"})
    -> (tensor<256x192xbf16> {nag.name = "c"}) {
  %c = nag.linear %a, %b {nag.schedule = #nag.schedule<gemm, tile = [64, 64, 32], warps = [2, 2], stages = 3>}
      : (tensor<256x128xbf16>, tensor<192x128xbf16>) -> tensor<256x192xbf16>
  return %c : tensor<256x192xbf16>
}
"""


def nagc(*arguments):
    return harness.run([NAGC, *arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("profile") / "model.mlir"
    nagc("model", "--preset", "tiny", "--set", "layers=2", "--set", "width=32", "--set", "heads=2", "--set", "seq=16", "--set", "batch=2",
         "-o", path)
    return path


@pytest.fixture(scope="module")
def step(model):
    """The profile of the model's step, with its page beside the model."""
    return json.loads(nagc("profile", model, "--precision", "bf16", "--json", "--html", model.parent / "profile.html"))


def test_a_product_counts_as_its_tiles_say(tmp_path):
    (tmp_path / "gemm.mlir").write_text(GEMM)
    profile = json.loads(nagc("profile", tmp_path / "gemm.mlir", "--json"))
    assert profile["functions"] == ["gemm"] and profile["counted_launches"] == 1
    kernel, = profile["kernels"]
    part, = kernel["parts"]
    m, n, k = 256, 192, 128
    assert kernel["ops"] == "nag.linear" and kernel["launches"] == 1
    assert part["grid"] == [4 * 3, 1, 1] and part["block"] == [128, 1, 1] and "tile = [64, 64, 32]" in part["schedule"]
    assert kernel["tensor_flops"] == kernel["flops_expected"] == 2 * m * n * k
    assert kernel["bytes_compulsory"] == kernel["bytes_unique"] == 2 * (m * k + n * k + m * n)
    assert kernel["bytes_requested"] == 2 * (12 * (64 + 64) * k + m * n)
    assert kernel["sectors_ratio"] == 1 and kernel["shared_bank_conflicts"] == 0
    assert kernel["mma_instructions"] == m * n * k // (16 * 8 * 16)
    for device in profile["devices"]:
        bound = kernel["bounds"][device["name"]]
        assert bound["seconds"] >= kernel["bytes_unique"] / device["memory_bytes_per_second"]
        assert bound["seconds"] >= kernel["tensor_flops"] / device["bf16_flops"]
    # 64 x 32 and 64 x 32 elements of bf16 in each of three stages; a multiprocessor has 164 KiB, of which each block costs 1 KiB more.
    assert part["shared_bytes"] >= 3 * 2 * 64 * 32 * 2
    resident = min(2048 // 128, 164 * 1024 // (-(-(part["shared_bytes"] + 1024) // 128) * 128))
    if "registers" in part:
        resident = min(resident, 65536 // (-(-part["registers"] * 32 // 256) * 256) // 4)
    assert part["resident_blocks"] == resident and part["occupancy"] == resident * 128 / 2048
    assert [device["name"] for device in profile["devices"]] == ["A100", "H100", "H200"]


def test_a_step_adds_up(step):
    assert step["functions"] == ["gradients", "apply"] and step["chip"] == "sm_80" and step["precision"] == "bf16"
    kernels, totals = step["kernels"], step["totals"]
    assert step["counted_launches"] == sum(len(kernel["parts"]) for kernel in kernels)
    # Every layer runs the same kernels.
    assert any(kernel["launches"] % 2 == 0 for kernel in kernels)
    assert totals["launches"] == sum(part["launches"] for kernel in kernels for part in kernel["parts"])
    for key in ("bytes_requested", "bytes_unique", "tensor_flops", "flops"):
        assert totals[key] == sum(kernel["launches"] * kernel[key] for kernel in kernels), key
        assert all(kernel[key] == sum(part[key] for part in kernel["parts"]) for kernel in kernels), key
    for device in step["devices"]:
        name = device["name"]
        assert totals["bound_seconds"][name] == pytest.approx(
            sum(kernel["launches"] * kernel["bounds"][name]["seconds"] for kernel in kernels))
    for kernel in kernels:
        assert kernel["bytes_requested"] >= kernel["bytes_unique"] > 0, kernel["name"]
        assert kernel["sectors_ratio"] >= 1, kernel["name"]
        assert all(0 < part["occupancy"] <= 1 and part["resident_blocks"] >= 1 for part in kernel["parts"]), kernel["name"]
    assert 0 < totals["tensor_share"] < 1


def test_ptxas_finds_no_spills(step):
    parts = [part for kernel in step["kernels"] for part in kernel["parts"]]
    if not all("registers" in part for part in parts):
        pytest.skip("no ptxas")
    assert all(part["registers"] > 0 and part["spill_bytes"] == 0 for part in parts)


def test_text_has_a_line_per_kernel(model, step):
    lines = nagc("profile", model, "--precision", "bf16").splitlines()
    assert lines[0] == "chip sm_80, one call of @gradients, @apply; bytes and FLOPs of one launch"
    names = [line.split()[0] for line in lines[2:2 + len(step["kernels"])]]
    assert names == [kernel["name"] for kernel in step["kernels"]]
    assert lines[2 + len(names)].startswith("all launches") and str(step["totals"]["launches"]) in lines[2 + len(names)]
    assert lines[3 + len(names)].split() == ["copies", str(step["copies"]["count"]), str(step["copies"]["bytes"])]
    assert "a bound, not a time" in lines[-3] and "copies" in lines[-2] and "first launch" in lines[-1]


def test_copies_are_counted(tmp_path):
    """A function that hands back its argument copies it; each byte is read and written."""
    (tmp_path / "copy.mlir").write_text("""
func.func @twice(%x: tensor<24x5xf32> {nag.name = "x"}) -> (tensor<24x5xf32> {nag.name = "y"}, tensor<24x5xf32> {nag.name = "z"}) {
  return %x, %x : tensor<24x5xf32>, tensor<24x5xf32>
}
""")
    profile = json.loads(nagc("profile", tmp_path / "copy.mlir", "--json"))
    assert profile["copies"] == {"count": 2, "bytes": 2 * 2 * 4 * 24 * 5}


def test_work_follows_the_rows(tmp_path):
    """Where rows are counted at run time, blocks of rows that do not count compute nothing, and parts of a weight gradient's split sum that
    have no rows are not there."""
    nagc("model", "--preset", "tiny", "--set", "layers=1", "--set", "width=32", "--set", "heads=2", "--set", "seq=128", "--set", "batch=3",
         "--set", "mod_policy=threshold", "--set", "mod_kv=routed", "--set", "mod_exempt=0", "-o", tmp_path / "routed.mlir")
    whole, half = (json.loads(nagc("profile", tmp_path / "routed.mlir", "--json", "--mod-rate", rate))["kernels"] for rate in (0, 0.5))
    pairs = {a["name"]: (a, b) for a, b in zip(whole, half)}
    all_rows, some = pairs["relu2_linear_addf_put_kernel"]  # and the gradients of weights
    assert re.search(r"split_k = [48]", some["parts"][0]["schedule"])
    assert some["bytes_unique"] < 0.55 * all_rows["bytes_unique"]
    for name in ("take_rotate_put_kernel", "take_rotate_vjp_take_gate_vjp_kernel"):
        all_rows, some = next(pair for key, pair in pairs.items() if key.startswith(name))
        assert some["flops"] < 0.75 * all_rows["flops"], name


@pytest.mark.parametrize("policy", ["capacity", "threshold"])
def test_routing_copies_nothing(tmp_path, policy):
    """Of a stream or more; the offsets of what is executed are written twice."""
    rate = ["--set", "mod_rate=0.25"] if policy == "capacity" else []
    nagc("model", "--preset", "tiny", "--set", "layers=4", "--set", "width=32", "--set", "heads=2", "--set", "seq=16", "--set", "batch=2",
         "--set", f"mod_policy={policy}", "--set", "mod_kv=routed", *rate, "-o", tmp_path / "routed.mlir")
    profile = json.loads(nagc("profile", tmp_path / "routed.mlir", "--json"))
    stream = 2 * 16 * 32 * 4
    assert profile["copies"]["count"] > 0 and profile["copies"]["bytes"] < 2 * stream


def test_the_page_stands_alone(model, step):
    text = (model.parent / "profile.html").read_text()
    page = Page(text)
    assert page.find("title")[0]["text"] == page.find("h1")[0]["text"] == "Profile of model.mlir"
    script, = page.find("script", id="data")
    assert json.loads(script["text"]) == step
    assert not [e for e in page.elements if "@src" in e or "@href" in e]
    assert set(re.findall(r"\w+://[^\s\"'<)]+", text)) <= {"http://www.w3.org/2000/svg"}


@needs_browser
def test_a_browser_draws_the_rooflines(model, step):
    page = Page(drawn(model.parent / "profile.html"))
    titles = [e["text"] for e in page.find("h2")]
    assert titles == [title for name in ("A100", "H100", "H200") for title in (f"Roofline: {name}", f"Bounds of a step: {name}")] + [
        "Kernels", "Launches"]
    assert len(page.find("path", class_="curve roof")) == 3 * 4
    with_flops = [kernel for kernel in step["kernels"] if kernel["flops"]]
    points = page.find("circle", class_="kernel")
    assert len(points) == 3 * len(with_flops)
    assert not any("NaN" in point["@cx"] + point["@cy"] + point["@r"] for point in points)
    assert not any("NaN" in e["@d"] for e in page.find("path"))


@pytest.fixture(scope="module")
def timed(model):
    """Times of the model's step, by the PTX machine in place of NVIDIA's driver."""
    library = harness.build_folder() / "lib" / "ptxvm-cuda"
    return harness.run([NAGC, "profile", model, "--precision", "bf16", "--device", "0", "--json"],
                       env=os.environ | {"LD_LIBRARY_PATH": str(library), "NAG_PTXVM_CHECKS": "none"})


def test_times_of_every_launch(timed, step):
    profile = json.loads(timed)
    assert profile["timed_device"] == "NAG PTX machine (sm_90), sm_90"
    launches = {kernel["name"]: kernel["launches"] for kernel in step["kernels"]}
    assert {kernel["name"]: kernel["launches"] for kernel in profile["kernels"]} == launches
    totals = profile["totals"]
    assert totals["launches"] == step["totals"]["launches"] and totals["bytes_compulsory"] == step["totals"]["bytes_compulsory"]
    assert totals["seconds"] == pytest.approx(sum(k["launches"] * k["seconds"] for k in profile["kernels"]))
    assert all(part["seconds"] > 0 for kernel in profile["kernels"] for part in kernel["parts"])
    assert 0.2 < totals["step_seconds"] / totals["seconds"] < 5
    assert "bytes_requested" not in totals and "bounds" not in profile["kernels"][0]


@pytest.mark.parametrize("options, message", [
    (("--device", "first"), "--device: expected vm or the number of a GPU, but got 'first'"),
    (("--device", "0", "--html", "page.html"), "--html: expected the device vm, whose counters the page shows, but got '0'"),
])
def test_wrong_use_of_devices(model, options, message):
    result = subprocess.run([NAGC, "profile", model, *options], capture_output=True, text=True)
    assert result.returncode == 2 and result.stderr == f"nagc profile: error: {message}\n"


@pytest.fixture(scope="module")
def tuned(model):
    path = model.parent / "schedule.json"
    out = nagc("tune", model, "--precision", "bf16", "--candidates", 2, "-o", path)
    return path, json.loads(path.read_text()), out


def test_tuning_is_never_worse_by_its_own_score(tuned, step):
    path, result, out = tuned
    assert out.startswith(f"{path}: score of a step ")
    assert result["chip"] == "sm_80" and result["device"] == "A100" and result["measure"] == "score"
    parts = [part for kernel in step["kernels"] for part in kernel["parts"]]
    assert set(result["scores"]) == {part["key"] for part in parts if "key" in part} == set(result["kernels"])
    assert all(0 < entry["tuned"] <= entry["model"] for entry in result["scores"].values())
    assert result["step"]["tuned"] <= result["step"]["model"]
    assert any(len(entry["tried"]) > 1 for entry in result["scores"].values())
    for key, entry in result["scores"].items():
        best = min(entry["tried"], key=lambda choice: choice["score"])
        assert best["score"] == entry["tuned"] and best["schedule"] == result["kernels"][key]


def test_compile_follows_the_tuned_schedules(model, tuned, tmp_path):
    path, result, _ = tuned
    nagc("compile", model, "--target", "cuda", "--precision", "bf16", "--schedule", path, "--emit", "mlir", "-o", tmp_path)
    kernels = json.loads((tmp_path / "manifest.json").read_text())["kernels"]
    followed = 0
    for kernel in kernels:
        if chosen := result["kernels"].get(kernel.get("key")):
            assert kernel["schedule"].startswith(f"#nag.schedule<{chosen['family']}, "), kernel["name"]
            if chosen["family"] == "gemm":
                assert f"tile = {chosen['tile']}" in kernel["schedule"]
            followed += 1
    assert followed > 20


def test_one_file_serves_other_models(tuned, tmp_path):
    """Keys say what a kernel does: a model of more layers has most of the kernels of the step's file."""
    path, result, _ = tuned
    nagc("model", "--preset", "tiny", "--set", "layers=3", "--set", "width=32", "--set", "heads=2", "--set", "seq=16", "--set", "batch=2",
         "-o", tmp_path / "deeper.mlir")
    nagc("compile", tmp_path / "deeper.mlir", "--target", "cuda", "--precision", "bf16", "--schedule", path, "--emit", "mlir", "-o", tmp_path)
    kernels = json.loads((tmp_path / "manifest.json").read_text())["kernels"]
    keys = {kernel["key"] for kernel in kernels if "key" in kernel}
    assert len(keys & set(result["kernels"])) > 0.6 * len(keys)


@pytest.fixture(scope="module")
def trained(model, tuned):
    """Losses of a step on the PTX machine with all of its checks, with the compiler's own schedules and with tuned ones, and what the
    machine counted of each kernel in the first."""
    counters = model.parent / "counters.jsonl"
    losses = []
    for name, more in (("own", ()), ("tuned", ("--schedule", tuned[0]))):
        log = model.parent / f"{name}.jsonl"
        with pytest.MonkeyPatch.context() as patch:
            if name == "own":
                patch.setenv("NAG_PTXVM_COUNTERS", str(counters))
            nagc("train", model, "--data", __file__, "--steps", 1, "--val-batches", 1, "--target", "cuda", "--device", "vm", "--precision",
                 "bf16", "--log", log, *more)
        losses.append(json.loads(log.read_text().splitlines()[0])["loss"])
    return losses, {line["kernel"]: line for line in map(json.loads, counters.read_text().splitlines())}


def test_training_with_tuned_schedules_is_the_same(trained):
    """Sums may be taken in another order."""
    own, tuned = trained[0]
    assert own == pytest.approx(tuned, rel=1e-3)


def test_a_profile_is_what_training_does(trained, step):
    """Every launch of a step runs there; the embedding's depend on the tokens."""
    compared = 0
    for part in (part for kernel in step["kernels"] if "embedding" not in kernel["name"] for part in kernel["parts"]):
        counted = trained[1][part["name"]]
        launches = counted["launches"]
        assert launches >= part["launches"], part["name"]
        for key, names in (("bytes_requested", ("global_bytes_read", "global_bytes_written")),
                           ("bytes_unique", ("unique_bytes_read", "unique_bytes_written")), ("sectors", ("global_sectors",)),
                           ("tensor_flops", ("tensor_flops",)), ("warp_instructions", ("warp_instructions",))):
            assert launches * part[key] == sum(counted[name] for name in names), (part["name"], key)
            compared += 1
    assert compared > 100


def test_tuning_repeats(tmp_path):
    (tmp_path / "gemm.mlir").write_text(GEMM)
    for name in ("first.json", "again.json"):
        nagc("tune", tmp_path / "gemm.mlir", "--candidates", 4, "-o", tmp_path / name)
    assert (tmp_path / "first.json").read_text() == (tmp_path / "again.json").read_text()


def test_thresholds_for_a_rate(tmp_path):
    """The first product of the MLP works on the tiles of as many tokens as a capacity of the rate keeps."""
    def count(policy, *options):
        sizes = dict(layers=1, width=32, heads=2, seq=128, batch=2, mod_exempt=0, mod_policy=policy, mod_rate=0.5)
        nagc("model", "--preset", "tiny", *(f"--set={k}={v}" for k, v in sizes.items()), "-o", tmp_path / "routed.mlir")
        kernels = json.loads(nagc("profile", tmp_path / "routed.mlir", "--function", "loss", "--json", *options))["kernels"]
        return next(k["flops"] for k in kernels if "relu2" in k["name"])

    kept = count("capacity")
    assert kept == count("threshold", "--mod-rate", 0.5) < 0.6 * count("threshold", "--mod-rate", 0)


def test_equal_gates_skip_together(tmp_path):
    """Before attention, gates know but the token. Of two tokens, about as frequent, all of one skip or nobody: what is closer to the rate."""
    sizes = dict(layers=1, width=32, heads=2, seq=128, batch=2, vocab=2, mod_exempt=0, mod_policy="threshold", mod_kv="routed")
    nagc("model", "--preset", "tiny", *(f"--set={k}={v}" for k, v in sizes.items()), "-o", tmp_path / "routed.mlir")

    def count(rate):
        profile = json.loads(nagc("profile", tmp_path / "routed.mlir", "--function", "loss", "--json", "--mod-rate", rate))
        return next(k["flops"] for k in profile["kernels"] if k["name"] == "attention_kernel"), profile["executed_shares"][0]

    (whole, all_tokens), (same, still_all), (half, some) = (count(rate) for rate in (0, 0.1, 0.4))
    assert whole == same > 2 * half
    assert all_tokens == still_all == 1.0 and 0.4 < some < 0.6

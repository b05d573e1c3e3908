# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Inputs that cannot be used: nagc says in one line what is wrong where, ends with 1, and harms no checkpoint.

The options and keys of `nagc model` are in test/Tools/nagc-model-errors.test, wrong use in nagc-session-errors.test.
"""

import contextlib
import json
import os
import resource
import shutil
import stat
import struct
import subprocess

import numpy as np
import pytest

import harness
from sessions import (TEXT, assert_one_line, checkpoints, lines, nagc, open_folder, start, unprivileged, wait_until,
                      write_model)

STEPS = 12


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a model and, below, a folder with its checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    write_model(folder / "model.mlir")
    result = nagc("train", folder / "model.mlir", "--data", TEXT, "--steps", STEPS, "--val-interval", 0,
                  "--checkpoint-dir", folder / "run")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def train(folder, *options, data=TEXT, **process):
    return nagc("train", folder / "model.mlir", "--data", data, "--val-interval", 0, *options, **process)


# Model text. An edit of the printed model: what is replaced, by what, and what the error names.
EDITS = {
    "malformed": ("nag.repeat @layer 2", "nag.repeat @layer two", "expected"),
    "unclosed": ("return %loss", "return %loss {", "expected"),
    "unknown op": ("nag.relu2", "nag.relu3", "nag.relu3"),
    "undefined value": ("return %loss", "return %lost", "use of undeclared SSA value name"),
    "mistyped": ("tensor<256x32xf32> {nag.name = \"lm_head.weight\"}", "tensor<256x32xf64> {nag.name = \"lm_head.weight\"}",
                 "f32"),
    "shape": ("%attn_c_q: tensor<32x32xf32>", "%attn_c_q: tensor<32x33xf32>", "33"),
    "zero size": ("%attn_c_q: tensor<32x32xf32>", "%attn_c_q: tensor<0x32xf32>", "tensor<0x32xf32>"),
    "negative size": ("%attn_c_q: tensor<32x32xf32>", "%attn_c_q: tensor<-2x32xf32>", "expected"),
    "no layers": ("nag.repeat @layer 2", "nag.repeat @layer 0", "0"),
    "heads that do not divide": ("nag.attention %q_norm, %k_norm, %v {heads = 4", "nag.attention %q_norm, %k_norm, %v {heads = 5",
                                 "5"),
    "negative heads": ("nag.attention %q_norm, %k_norm, %v {heads = 4", "nag.attention %q_norm, %k_norm, %v {heads = -4",
                       "-4"),
    "unknown function": ("nag.repeat @layer 2", "nag.repeat @lair 2", "lair"),
}


@pytest.mark.parametrize("before, after, named", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("command", ["train", "compile", "flops"])
def test_model_text(trained, tmp_path, command, before, after, named):
    text = (trained / "model.mlir").read_text()
    assert before in text
    line = text[:text.index(before)].count("\n") + 1
    (tmp_path / "model.mlir").write_text(text.replace(before, after, 1))
    options = {"train": ["--data", TEXT, "--steps", 1], "compile": ["-o", tmp_path / "out"], "flops": []}[command]
    result = nagc(command, tmp_path / "model.mlir", *options)
    assert_one_line(result, f"nagc {command}: error: {tmp_path}/model.mlir:", named)
    reported = int(result.stderr.split("model.mlir:", 1)[1].split(":", 1)[0])
    assert reported >= line, result.stderr
    assert not (tmp_path / "out").exists()


def test_brackets_without_end(trained, tmp_path):
    """MLIR's parser has no limit but the stack."""
    (tmp_path / "model.mlir").write_text("module attributes {a =\n" + "[" * 10**6)
    assert_one_line(train(tmp_path), f"error: {tmp_path}/model.mlir:2: expected at most 256 brackets within one another")


@pytest.mark.parametrize("before, after, named", [
    ("<2x8x", "<0x8x", "expected positive sizes in a stream, but got 0"),
    ("x32xf32>", "x0xf32>", "expected positive sizes in a stream, but got 0"),
    ("<2x8x", "<?x8x", "expected static shape"),
    ("256x", "0x", "'nag.cross_entropy' op (C2) expected 'vocab' in [1, 0], but got 256")])
def test_sizes_in_the_whole_text(trained, tmp_path, before, after, named):
    (tmp_path / "model.mlir").write_text((trained / "model.mlir").read_text().replace(before, after))
    assert_one_line(train(tmp_path), f"error: {tmp_path}/model.mlir:", named)


@pytest.mark.parametrize("text, line, parts", [
    ('{"layers": 2,\n "width": "wide"}', 2, ["width: expected an integer in [1, 1048576], but got \"wide\""]),
    ('{"layers": 2,\n\n "widht": 3}', 3, ["expected a key of a model, but got 'widht' (did you mean 'width'?)"]),
    ('{"layers": 2,\n "width": 128,\n "heads": 5}', 3, ["heads: expected a divisor of width = 128, but got 5"]),
    ('{"layers":\n -2}', 1, ["layers: expected an integer in [1, 65536], but got -2"]),
    ('{"preset":\n "huge"}', 1, ["preset: expected one of tiny, small, nanochat, deep, but got 'huge'"]),
    ('{"layers": 2,\n "width": }', 2, ["expected JSON"]),
    ('{"layers": 2,\n "layers": 3}', 2, ["expected JSON, but got: Key \"layers\" for the second time"]),
    ("[" * 10**6, 1, ["expected JSON, but got: Nested deeper than 64 levels"]),
])
def test_configuration_file(tmp_path, text, line, parts):
    path = tmp_path / "config.json"
    path.write_text(text)
    assert_one_line(nagc("model", "--config", path), f"error: {path}:{line}:", *parts)


@pytest.mark.parametrize("content, named", [
    (b"", "expected data, but the file is empty"),
    (b"only a few bytes", "expected at least 17 tokens (one batch of 2 x 8), but got"),
])
def test_text_data(trained, tmp_path, content, named):
    path = tmp_path / "data.txt"
    path.write_bytes(content)
    assert_one_line(train(trained, data=path), "nagc train: error: ", named)


def test_data_that_may_not_be_read(trained, open_folder):
    shutil.copy(trained / "model.mlir", open_folder)
    path = open_folder / "secret.txt"
    path.write_text("x" * 999)
    path.chmod(0)
    assert_one_line(train(open_folder, data=path, **unprivileged()), f"error: {path}: cannot open: Permission denied")


@pytest.mark.parametrize("tokens, named", [
    ([1] * 500 + [300], "byte offset 1000: expected a token below the vocabulary of 256, but got 300"),
    ([1] * 9, "expected at least 17 tokens (one batch of 2 x 8), but got"),
])
def test_token_data(trained, tmp_path, tokens, named):
    path = tmp_path / "data.bin"
    path.write_bytes(struct.pack(f"<{len(tokens)}H", *tokens))
    assert_one_line(train(trained, "--val-fraction", 0, data=path), "nagc train: error: ", named)


def test_token_data_of_odd_length(trained, tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(999))
    assert_one_line(train(trained, data=path), f"error: {path}: expected a multiple of 2 bytes (16-bit tokens), but got 999")


@pytest.mark.parametrize("option, value, name", [
    ("steps", 0, "steps"), ("steps", -3, "steps"), ("accumulate", 0, "accumulation"), ("lr", -1, "learning rate"),
    ("lr", "nan", "learning rate"), ("warmup", -1, "warm-up steps"), ("clip", -1, "clip"), ("keep", -1, "kept checkpoints"),
    ("decay-floor", 2, "decay floor"), ("val-fraction", -1, "--val-fraction"), ("threads", -1, "--threads")])
def test_numbers_out_of_range(trained, option, value, name):
    assert_one_line(train(trained, f"--{option}={value}"), f"error: {name}: expected", "but got", value, code=2)


# Checkpoints. How a file is spoiled, and what the error names.
def header_of(data):
    size, = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + size]), data[8 + size:]


def with_header(data, change):
    header, tensors = header_of(data)
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def set_field(name, value):
    return lambda data: with_header(data, lambda header: header["__metadata__"].update({name: value}))


def rename_tensor(data):
    return with_header(data, lambda header: header.update({"other.weight": header.pop("lm_head.weight")}))


def set_shape(data):
    return with_header(data, lambda header: header["lm_head.weight"].update(shape=[32, 256]))


def overlap(data):
    def change(header):
        header["lm_head.weight"]["data_offsets"] = header["transformer.wte.weight"]["data_offsets"]
    return with_header(data, change)


SPOILED = {
    "empty": (lambda data: b"", ""),
    "cut in the length": (lambda data: data[:5], ""),
    "cut in the header": (lambda data: data[:200], ""),
    "cut in the middle": (lambda data: data[:len(data) // 2], ""),
    "cut by a byte": (lambda data: data[:-1], ""),
    "foreign": (lambda data: b"PK\x03\x04" + bytes(4000), ""),
    "foreign text": (lambda data: b"no checkpoint at all, just text\n" * 99, ""),
    "not JSON": (lambda data: struct.pack("<Q", 8) + b"notjson!" + data, ""),
    "tensor": (rename_tensor, "tensor"),
    "shape": (set_shape, "tensor 'lm_head.weight': expected 256x32xf32, but got 32x256xf32"),
    "overlap": (overlap, "tensor"),
    "other model": (set_field("config", '{"layers": 7}'), "config field"),
    "config": (set_field("config", "[]"), "field 'config': expected a JSON object"),
}
SPOILED_FOR_RESUME = {
    "format": (set_field("format", "other-1"), "field 'format': expected 'nag-checkpoint-1', but got 'other-1'"),
    "step": (set_field("step", "-4"), "field 'step': expected an integer of at least 0, but got '-4'"),
    "seed": (set_field("seed", "9"), "field 'seed': expected 0, but got 9"),
    "data": (set_field("data_fingerprint", "9"), "field 'data_fingerprint': expected"),
    "executed": (set_field("executed_flops", "-1"), "field 'executed_flops': expected a finite number of at least 0, but got '-1'"),
    "executed words": (set_field("executed_flops", "many"), "field 'executed_flops': expected a finite number"),
}


def spoil(folder, how):
    path, = (folder / "run").glob("*.safetensors")
    path.write_bytes(how(path.read_bytes()))
    return path


@pytest.mark.parametrize("how, named", (SPOILED | SPOILED_FOR_RESUME).values(), ids=SPOILED | SPOILED_FOR_RESUME)
def test_resume_of_a_spoiled_checkpoint(copy, how, named):
    path = spoil(copy, how)
    before = checkpoints(copy / "run")
    assert_one_line(train(copy, "--steps", 20, "--checkpoint-dir", copy / "run", "--resume"), f"error: {path}: ", named)
    assert checkpoints(copy / "run") == before


@pytest.mark.parametrize("how, named", SPOILED.values(), ids=SPOILED)
def test_evaluation_of_a_spoiled_checkpoint(copy, how, named):
    path = spoil(copy, how)
    result = nagc("eval", copy / "model.mlir", "--checkpoint", path, "--data", TEXT)
    assert_one_line(result, f"nagc eval: error: {path}: ", named)


def test_weights_that_are_no_numbers(copy):
    path = spoil(copy, lambda data: data[:8 + struct.unpack("<Q", data[:8])[0]] + b"\xff" * len(header_of(data)[1]))
    model = copy / "model.mlir"
    for option in ([], ["--json"], ["--mod-rate", 0.5]):
        result = nagc("eval", model, "--checkpoint", path, "--data", TEXT, "--batches", 1, *option)
        assert_one_line(result, "nagc eval: error: validation: expected a finite loss, but got ")
        assert not result.stdout
    for option in ([], ["--recompute"]):
        result = nagc("generate", model, "--checkpoint", path, "--prompt", "a", "--tokens", 2, *option)
        assert_one_line(result, "nagc generate: error: token 0: expected a finite logit, but got ")


def test_export_onto_the_checkpoint_itself(copy):
    path, = (copy / "run").glob("*.safetensors")
    before = checkpoints(copy / "run")
    for options in (["-o", path], ["-o", copy / "public.safetensors", "--config-out", path]):
        result = nagc("export", copy / "run", *options)
        assert_one_line(result, f"nagc export: error: {path}: expected another file to write than the checkpoint itself")
    assert checkpoints(copy / "run") == before and not (copy / "public.safetensors").exists()


def test_generation_from_a_spoiled_checkpoint(copy):
    path = spoil(copy, lambda data: data[:-1])
    result = nagc("generate", copy / "model.mlir", "--checkpoint", path, "--prompt", "a", "--tokens", 1)
    assert_one_line(result, f"nagc generate: error: {path}: ")


@pytest.mark.parametrize("setting, named", [("layers=3", "config field"), ("width=64", "config field"),
                                            ("residual=prenorm", "config field")])
def test_checkpoint_of_another_model(copy, setting, named):
    write_model(copy / "model.mlir", setting)
    before = checkpoints(copy / "run")
    path = copy / "run" / f"step-{STEPS:08}.safetensors"
    assert_one_line(train(copy, "--steps", 20, "--checkpoint-dir", copy / "run", "--resume"), f"error: {path}: ", named)
    result = nagc("eval", copy / "model.mlir", "--checkpoint", copy / "run", "--data", TEXT)
    assert_one_line(result, f"error: {path}: ", named)
    assert checkpoints(copy / "run") == before


def test_folder_in_use(copy):
    before = checkpoints(copy / "run")
    assert_one_line(train(copy, "--checkpoint-dir", copy / "run"), f"error: {copy}/run: expected a folder without")
    assert checkpoints(copy / "run") == before


# Folders that cannot be written.
def assert_unharmed(folder, before):
    """The earlier checkpoint is as it was, nothing else is left, and the run can go on from it."""
    assert checkpoints(folder / "run") == before
    result = train(folder, "--steps", 20, "--checkpoint-dir", folder / "run", "--resume")
    assert result.returncode == 0, result.stderr


def test_file_larger_than_allowed(copy):
    """The kernel refuses to write on in the middle of the checkpoint, as on a full disk, for every user."""
    before = checkpoints(copy / "run")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))

    result = train(copy, "--steps", 20, "--checkpoint-dir", copy / "run", "--resume", preexec_fn=limit,
                   restore_signals=False)
    assert_one_line(result, "step-00000020.safetensors: cannot write: File too large")
    assert_unharmed(copy, before)


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of this many bytes at `folder`."""
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no rights to mount a file system: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_full_disk(trained, tmp_path):
    size = (trained / "run" / f"step-{STEPS:08}.safetensors").stat().st_size
    with small_disk(tmp_path / "disk", size * 3 // 2) as disk:
        shutil.copytree(trained, disk, dirs_exist_ok=True)
        before = checkpoints(disk / "run")
        resume = ["--steps", 20, "--checkpoint-dir", disk / "run", "--resume", "--log", tmp_path / "log.jsonl"]
        assert_one_line(train(disk, *resume), "step-00000020.safetensors: cannot write: No space left on device")
        assert checkpoints(disk / "run") == before
        result = nagc("eval", disk / "model.mlir", "--checkpoint", disk / "run", "--data", TEXT)
        assert result.returncode == 0, result.stderr


def test_full_device_for_outputs(trained):
    assert_one_line(train(trained, "--steps", 2, "--log", "/dev/full"), "error: /dev/full: cannot write: No space left")
    assert_one_line(nagc("model", "-o", "/dev/full"), "nagc model: error: /dev/full: cannot write: No space left")
    for options in (["-o", "/dev/full"], ["-o", "/dev/null", "--config-out", "/dev/full"]):
        result = nagc("export", trained / "run", *options)
        assert_one_line(result, "nagc export: error: /dev/full: cannot write: No space left")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode), "a device must not become a file"
    for arguments in (["model"], ["flops", trained / "model.mlir"]):
        with open("/dev/full", "w") as full:
            command = [harness.build_folder() / "bin" / "nagc", *arguments]
            result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert_one_line(result, "error: standard output: cannot write: No space left")


def save_tensors(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        header[name] = {"dtype": {"i": "I32", "f": "F32"}[array.dtype.kind], "shape": array.shape,
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_indices_of_a_called_function(tmp_path):
    """By an argument's name or, where it has none, its place; in the derivative too."""
    body = """(%t: tensor<3xi32>{name}, %e: tensor<5x2xf32>) -> tensor<3x2xf32> {
      %y = nag.embedding %t, %e : (tensor<3xi32>, tensor<5x2xf32>) -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>
    }"""
    module = tmp_path / "f.mlir"
    module.write_text("func.func @f" + body.replace("{name}", "") + "\nfunc.func @g" + body.replace("{name}", ' {nag.name = "t"}'))
    for call, name in (("f", "arg0"), ("g", "t"), ("f.gradients", "arg0")):
        inputs = {name: np.array([0, 5, 1], np.int32), "arg1": np.ones((5, 2), np.float32), "cotangent:0": np.ones((3, 2), np.float32)}
        save_tensors(tmp_path / "in", inputs)
        result = nagc("run", module, "--differentiate", "f", "--call", f"{call}:{tmp_path}/in:{tmp_path}/out")
        assert_one_line(result, f"nagc run: error: {tmp_path}/in: argument '{name}': expected numbers in [0, 5), but got 5")
        assert not (tmp_path / "out").exists()


def test_indices_where_functions_disagree(tmp_path):
    """A name that stands for rows of two tables is each function's own."""
    body = """(%t: tensor<3xi32> {nag.name = "t"}, %e: tensor<Rx2xf32>) -> tensor<3x2xf32> {
      %y = nag.embedding %t, %e : (tensor<3xi32>, tensor<Rx2xf32>) -> tensor<3x2xf32>
      return %y : tensor<3x2xf32>
    }"""
    module = tmp_path / "f.mlir"
    module.write_text("".join(f"func.func @f{rows}" + body.replace("R", str(rows)) + "\n" for rows in (5, 7)))
    for rows in (5, 7):
        save_tensors(tmp_path / "in", {"t": np.array([0, 5, 1], np.int32), "arg1": np.ones((rows, 2), np.float32)})
        result = nagc("run", module, "--call", f"f{rows}:{tmp_path}/in:{tmp_path}/out")
        if rows == 5:
            assert_one_line(result, f"nagc run: error: {tmp_path}/in: argument 't': expected numbers in [0, 5), but got 5")
        else:
            assert result.returncode == 0, result.stderr


def test_read_only_folder(copy, open_folder):
    shutil.copytree(copy, open_folder / "copy")
    folder = open_folder / "copy"
    folder.chmod(0o755)
    (folder / "run").chmod(0o555)
    before = checkpoints(folder / "run")
    result = train(folder, "--steps", 20, "--checkpoint-dir", folder / "run", "--resume", **unprivileged())
    assert_one_line(result, f"error: {folder}/run: cannot write to folder: Permission denied")
    assert_unharmed(folder, before)


def test_folder_that_becomes_read_only(trained, open_folder):
    shutil.copy(trained / "model.mlir", open_folder)
    run = open_folder / "run"
    run.mkdir()
    run.chmod(0o777)
    command = ["train", open_folder / "model.mlir", "--data", TEXT, "--val-interval", 0, "--steps", 10**6,
               "--checkpoint-dir", run, "--checkpoint-interval", 50, "--keep", 0]
    process = start(*command, **unprivileged())
    wait_until(lambda: lines(run / "log.jsonl") >= 60, process)
    run.chmod(0o555)
    before = checkpoints(run)
    _, errors = process.communicate(timeout=60)
    after = {name: data for name, data in checkpoints(run).items() if name in before and name.endswith(".safetensors")}
    assert process.returncode == 1
    assert errors.count("\n") == 1 and ".safetensors: cannot create: Permission denied" in errors
    assert "step-00000050.safetensors" in after and after == {n: d for n, d in before.items() if n in after}

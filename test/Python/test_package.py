# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Python package: models, programs, training, arrays without copies, errors, threads, memory."""

import ctypes
import dataclasses
import doctest
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import harness

nag = pytest.importorskip("nag", reason="the Python package is not built: nanobind was not found")

SMALL = {"layers": 2, "width": 32, "heads": 2, "seq": 8, "batch": 2, "vocab": 64, "project_std": 0.05}


@pytest.fixture(scope="module")
def model():
    return nag.Model(**SMALL)


@pytest.fixture(scope="module")
def program(model):
    return model.compile(["loss", "logits"], differentiate="loss", threads=1)


@pytest.fixture(scope="module")
def weights(program):
    return program.weights(seed=3)


def batch(seed=0):
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 64, (2, 8), dtype=np.int32) for _ in range(2))


def loss_arguments(weights):
    tokens, targets = batch()
    return {"tokens": tokens, "targets": targets, "gate_scale": 1.0, **weights.arguments("loss")}


#===- Models --------------------------------------------------------------===#


@pytest.mark.parametrize("module", ["builder", "config", "model", "training"])
def test_examples_of_the_documentation(module):
    result = doctest.testmod(getattr(nag, module))
    assert result.attempted and not result.failed


def test_config_to_mlir_to_config():
    config = nag.ModelConfig(layers=3, width=64, heads=4, kv_heads=2, seq=32, window="SL", mlp="swiglu", tied=True,
                             qk_norm="learned", lr=0.01).complete()
    model = nag.Model(config)
    assert model.config == config
    assert nag.Model.from_text(model.text).config == config
    assert nag.ModelConfig.from_json(config.to_json()) == config


def test_text_is_a_fixed_point(model, tmp_path):
    model.save(tmp_path / "model.mlir")
    text = nag.Model.from_file(tmp_path / "model.mlir").text  # values lose the names of their locations
    assert nag.Model.from_text(text).text == text


def test_presets():
    assert nag.ModelConfig.preset("deep", layers=2).replace(width=32).to_dict()["width"] == 32
    assert {"tiny", "small", "nanochat", "deep"} <= set(nag.presets())
    assert "cpu" in nag.targets()


@pytest.mark.parametrize("fields, message", [
    ({"layrs": 2}, "expected a key of a model, but got 'layrs' (did you mean 'layers'?)"),
    ({"layers": 0}, "layers: expected an integer in [1, 65536], but got 0"),
    ({"layers": "two"}, 'layers: expected an integer in [1, 65536], but got "two"'),
    ({"heads": 3}, "heads: expected a divisor of width = 128, but got 3"),
    ({"residual": "plain"}, "expected one of nag, prenorm"),
    ({"preset": "huge"}, "expected one of tiny, small, nanochat, deep, but got 'huge'"),
])
def test_bad_configurations(fields, message):
    with pytest.raises(nag.ConfigError) as error:
        nag.ModelConfig.from_dict(fields)
    assert message in str(error.value)


def test_config_files(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"preset": "small", "layers": 3}))
    assert nag.ModelConfig.from_file(path).layers == 3
    path.write_text("[]")
    with pytest.raises(nag.ConfigError, match="expected a JSON object of model keys"):
        nag.ModelConfig.from_file(path)
    with pytest.raises(nag.ConfigError, match="No such file"):
        nag.ModelConfig.from_file(tmp_path / "none.json")
    with pytest.raises(nag.ConfigError, match="expected a dictionary on the module"):
        nag.Model.from_text("module {}").config


#===- The schema of configurations ----------------------------------------===#


def accepts(schema, value):
    """The part of JSON Schema that ours uses."""
    kinds = {"integer": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and v == int(v),
             "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
             "boolean": lambda v: isinstance(v, bool), "string": lambda v: isinstance(v, str)}
    if "anyOf" in schema:
        return any(accepts(part, value) for part in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    return kinds[schema["type"]](value) and schema.get("minimum", value) <= value <= schema.get("maximum", value) and \
        ("pattern" not in schema or re.search(schema["pattern"], value) is not None)


def candidates(schema):
    parts = schema.get("anyOf", [schema])
    limits = [x for part in parts for x in (part.get("minimum"), part.get("maximum")) if x is not None]
    return [*limits, *[x - 1 for x in limits], *[2 * x + 1 for x in limits], *[v for part in parts for v in part.get("enum", [])],
            True, 0.5, "x", "SL", "L12", None, [1]]


@pytest.mark.parametrize("name, schema", nag.ModelConfig.schema()["properties"].items())
def test_the_schema_takes_what_the_compiler_takes(name, schema):
    assert schema["description"].endswith("."), name
    if name in ("$schema", "preset"):
        return
    verdicts = set()
    for value in candidates(schema):
        expected = accepts(schema, value)
        verdicts.add(expected)
        try:
            nag.ModelConfig.from_dict({name: value})
            refused = ""
        except nag.ConfigError as error:  # what contradicts other fields is no matter of one value
            refused = re.search(rf"^config: {name}: expected (an integer|a number|one of|true or|a pattern)", str(error))
        assert bool(refused) != expected, (name, value, refused)
    assert verdicts == {True, False}
    if "default" in schema:
        assert accepts(schema, schema["default"])


def test_the_schema_is_the_dataclass_and_the_file():
    schema = nag.ModelConfig.schema()
    fields = {field.name: field.default for field in dataclasses.fields(nag.ModelConfig)}
    assert set(schema["properties"]) - {"$schema", "preset"} == set(fields) and schema["additionalProperties"] is False
    assert {name: key.get("default") for name, key in schema["properties"].items() if name in fields} == fields
    root = pathlib.Path(__file__).resolve().parents[2]
    assert json.loads((root / "docs" / "reference" / "config.schema.json").read_text()) == schema
    assert set(schema["properties"]["preset"]["enum"]) == set(nag.presets())


def test_files_may_name_their_schema(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{\n "$schema": "config.schema.json",\n "layers": 2,\n "width": "wide"\n}')
    with pytest.raises(nag.ConfigError, match=r"config\.json:4: width: expected an integer in"):
        nag.ModelConfig.from_file(path)
    path.write_text('{"$schema": "config.schema.json", "layers": 2}')
    assert nag.ModelConfig.from_file(path).layers == 2


def test_compile_errors_carry_the_diagnostics():
    with pytest.raises(nag.CompileError) as error:
        nag.Model.from_text("func.func @f(%x: tensor<4x8xf32>) -> tensor<4x2xf32> {\n"
                            "  %y = nag.linear %x, %x : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x2xf32>\n"
                            "  return %y : tensor<4x2xf32>\n}\n", "hand.mlir")
    first = error.value.diagnostics[0]
    assert (first.severity, first.file, first.line) == ("error", "hand.mlir", 2)
    assert str(error.value) == f"hand.mlir:2:{first.column}: {first.message}"
    assert error.value.diagnostics[-1].severity == "note"


def test_builder_errors():
    f = nag.ModuleBuilder().function("f", x="tensor<4x8xf32>")
    with pytest.raises(nag.Error, match="expected an op of a known dialect, but got 'nag.nothing'"):
        f.op("nag.nothing", f.x)
    with pytest.raises(nag.CompileError):
        f.op("nag.linear", f.x, f.x, heads=[object] and "#broken")
    with pytest.raises(AttributeError, match="has no argument 'z'"):
        f.z
    with pytest.raises(nag.ArgumentError, match="expected returns()"):
        f.text()


def test_built_ops_compute():
    module = nag.ModuleBuilder()
    f = module.function("f", x="tensor<4x8xf32>")
    f.returns(y=f.op("nag.rms_norm", f.op("nag.relu2", f.x), groups=2, factor=1.5, eps=0.0))
    x = np.linspace(1, 2, 32, dtype=np.float32).reshape(4, 8)
    got = module.build().compile().call("f", x=x)["y"]
    groups = (x * x).reshape(4, 2, 4)
    expected = 1.5 * groups / np.sqrt((groups ** 2).mean(-1, keepdims=True))
    np.testing.assert_allclose(got, expected.reshape(4, 8), rtol=1e-5)


def test_types_are_those_of_the_extension(tmp_path):
    """mypy finds no contradiction in the package's annotations, nor in a use of it; it finds one that is there."""
    mypy = pathlib.Path(sys.executable).parent / "mypy"
    if not mypy.exists():
        pytest.skip("no mypy: scripts/requirements.txt has it")
    (tmp_path / "use.py").write_text("import nag\nmodel = nag.Model(layers=1)\nprogram: nag.Program = model.compile(['loss'], threads=2)\n"
                                     "config: str = model.config\n")
    package = pathlib.Path(nag.__file__).parent.parent
    result = subprocess.run([mypy, "--ignore-missing-imports", f"--cache-dir={tmp_path}", "-p", "nag", "-p", "use"], cwd=tmp_path,
                            capture_output=True, text=True, env=dict(os.environ, MYPYPATH=os.pathsep.join([str(package), str(tmp_path)])))
    errors = [line for line in result.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 1 and errors[0].startswith("use.py:4: error: Incompatible types"), result.stdout + result.stderr


#===- Arrays --------------------------------------------------------------===#


def test_arrays_are_not_copied(program, weights):
    name = "transformer.wte.weight"
    before = program.call("loss", **loss_arguments(weights))["loss"].item()
    saved = weights[name].copy()
    weights[name][...] *= 1.5
    assert program.call("loss", **loss_arguments(weights))["loss"].item() != before
    weights[name] = saved
    loss = np.zeros((), np.float32)
    result = program.call("loss", **loss_arguments(weights), loss=loss)
    assert result["loss"] is loss and loss.item() == before
    assert np.shares_memory(weights[name], weights[name])
    assert weights["transformer.h.1.attn.c_q.weight"].base is not None
    assert np.shares_memory(weights["transformer.h.1.attn.c_q.weight"], weights["transformer.h.{layer}.attn.c_q.weight"])


def test_updates_are_in_place(program):
    weights, step = program.weights(seed=1), {"lr": 0.1, "step": 1.0, "clip": 0.0, "grad_scale": 1.0}
    parts = [nag.Weights(program, prefix) for prefix in ("grad:", "m:", "v:")]
    for array in parts[0].values():
        array[...] = 1
    before = weights["lm_head.weight"].copy()
    arrays = {k: v for part in [weights, *parts] for k, v in part.arguments("apply").items()}
    result = program.call("apply", **step, **arrays)
    assert np.shares_memory(result["lm_head.weight"], weights["lm_head.weight"])
    assert not np.array_equal(before, weights["lm_head.weight"])


def test_dlpack_both_ways(program, weights):
    jnp = pytest.importorskip("jax.numpy")
    tokens, targets = batch()
    plain = program.call("loss", **loss_arguments(weights))["loss"]
    got = program.call("loss", **{**loss_arguments(weights), "tokens": jnp.asarray(tokens)})["loss"]
    assert got == plain
    view = np.from_dlpack(weights["lm_head.weight"])
    assert np.shares_memory(view, weights["lm_head.weight"])


def test_odd_alignment(program, weights):
    arguments = loss_arguments(weights)
    expected = program.call("loss", **arguments)["loss"].item()
    for name, array in list(arguments.items()):
        if isinstance(array, np.ndarray) and array.dtype == np.float32 and array.ndim:
            raw = np.zeros(array.nbytes + 4, np.uint8)
            shifted = raw[4:].view(np.float32).reshape(array.shape)
            shifted[...] = array
            arguments[name] = shifted
    assert program.call("loss", **arguments)["loss"].item() == expected


class CudaArray:
    """A DLPack producer that claims to live on a GPU."""

    class Tensor(ctypes.Structure):
        _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                    ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                    ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
                    ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
                    ("manager_ctx", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]

    def __init__(self, shape):
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        self.tensor = self.Tensor(16, 2, 1, len(shape), 0, 32, 1, self.shape, None, 0, None, None)

    def __dlpack_device__(self):
        return 2, 1

    def __dlpack__(self, **_):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


def read_only():
    array = np.zeros((), np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("name, value, message", [
    ("tokens", np.zeros((2, 8), np.int64), "argument 'tokens': expected 2x8xi32, but got 2x8xi64"),
    ("tokens", np.zeros((8, 2), np.int32), "expected 2x8xi32, but got 8x2xi32"),
    ("tokens", np.zeros(16, np.int32), "expected 2x8xi32, but got 16xi32"),
    ("tokens", np.zeros((2, 8), np.uint32), "expected 2x8xi32, but got 2x8xu32"),
    ("tokens", np.zeros((8, 2), np.int32).T, "expected a contiguous row-major array, but got strides (1, 2)"),
    ("tokens", np.zeros((2, 16), np.int32)[:, ::2], "expected a contiguous row-major array, but got strides (16, 2)"),
    ("tokens", [[0] * 8] * 2, "expected an array, but got list"),
    ("tokens", CudaArray((2, 8)), "expected an array on cpu, but got one on cuda:1"),
    ("loss", read_only(), "argument 'loss': expected a writable array, as the program writes to it, but got a read-only"),
    ("loss", np.zeros((), np.float64), "argument 'loss': expected f32, but got f64"),
    ("toks", np.zeros(1), "function 'loss': expected an argument of its own, but got 'toks'"),
    ("tokens", np.zeros((2, 8), ">i4"), "expected an array that DLPack can describe, but got ndarray of >i4"),
    ("tokens", np.zeros((2, 8), "U1"), "expected an array that DLPack can describe, but got ndarray of <U1"),
    ("tokens", np.full((2, 8), 64, np.int32), "argument 'tokens': expected numbers in [0, 64), but got 64"),
    ("tokens", np.full((2, 8), -1, np.int32), "argument 'tokens': expected numbers in [0, 64), but got -1"),
    ("targets", np.full((2, 8), 2 ** 30, np.int32), "argument 'targets': expected numbers in [0, 64) or -1, but got 1073741824"),
    ("gate_scale", "1", "argument 'gate_scale': expected an array, but got str"),
])
def test_bad_arrays(program, weights, name, value, message):
    with pytest.raises(nag.ArgumentError) as error:
        program.call("loss", **{**loss_arguments(weights), name: value})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_tokens_are_looked_at_before_every_call(program, weights):
    """Kernels index tables with them: what is no row of a table would be read all the same."""
    arguments = loss_arguments(weights)
    call = program.function("loss").bind(**arguments)
    call()
    arguments["tokens"][1, 3] = 1000
    with pytest.raises(nag.ArgumentError, match=r"expected numbers in \[0, 64\), but got 1000"):
        call()
    f = nag.ModuleBuilder().function("f", rows="tensor<3xi32>", table="tensor<5x2xf32>")
    f.returns(y=f.op("nag.embedding", f.rows, f.table))
    by_hand, table = nag.Model.from_text(f.text()).compile(), np.eye(5, 2, dtype=np.float32)
    assert by_hand.call("f", rows=np.array([4, 0, 1], np.int32), table=table)["y"].tolist() == [[0, 0], [1, 0], [0, 1]]
    with pytest.raises(nag.ArgumentError, match=r"argument 'rows': expected numbers in \[0, 5\), but got 5"):
        by_hand.call("f", rows=np.array([4, 5, 1], np.int32), table=table)


@pytest.mark.parametrize("op, name, value, message", [
    ("take", "indices", [0, 99, -1], r"argument 'indices': expected numbers in \[0, 8\) or -1, but got 99"),
    ("take", "offsets", [0, 2, 4], r"argument 'offsets': expected numbers in \[0, 4\), but got 4"),
    ("put", "indices", [0, -2, -1], r"argument 'indices': expected numbers in \[0, 8\) or -1, but got -2"),
    ("put", "offsets", [0, -1, 2], r"argument 'offsets': expected numbers in \[0, 4\), but got -1")])
def test_places_of_rows_are_looked_at_too(op, name, value, message):
    module = nag.ModuleBuilder()
    f = module.function("f", rows="tensor<3x4xf32>", all="tensor<2x4x4xf32>", indices="tensor<3xi32>", offsets="tensor<3xi32>")
    operands = [f.rows, f.all] if op == "put" else [f.all]
    types = ["tensor<3x4xf32>", "tensor<2x4x4xf32>"] if op == "take" else ["tensor<2x4x4xf32>"]
    results = f.op(f"nag.{op}", *operands, f.indices, f.offsets, results=types)
    f.returns(y=results[0] if op == "take" else results)
    arrays = {"rows": np.ones((3, 4), np.float32), "all": np.ones((2, 4, 4), np.float32),
              "indices": np.array([1, 6, -1], np.int32), "offsets": np.array([0, 1, 2], np.int32)}
    program = module.build().compile(threads=1)
    assert program.call("f", **arrays)["y"].reshape(-1, 4)[:2].tolist() == [[1.0] * 4] * 2  # further rows of take do not count
    with pytest.raises(nag.ArgumentError, match=message):
        program.call("f", **{**arrays, name: np.array(value, np.int32)})


def test_missing_arguments_and_functions(program, weights):
    arguments = loss_arguments(weights)
    del arguments["targets"]
    with pytest.raises(nag.ArgumentError, match="argument 'targets': expected 2x8xi32, but got nothing"):
        program.call("loss", **arguments)
    with pytest.raises(nag.ArgumentError, match="expected a function of .*, but got 'f'"):
        program.call("f")
    with pytest.raises(KeyError):
        weights["transformer.h.2.attn.c_q.weight"]
    with pytest.raises(nag.ArgumentError, match="expected shape"):
        weights["lm_head.weight"] = np.zeros(3)


@pytest.mark.parametrize("options, message", [
    ({"target": "tpu"}, "target: expected cpu"),
    ({"target": "cpu", "device": "0"}, "device: expected no device for the target cpu, but got '0'"),
    ({"target": "cpu", "precision": "f8"}, "precision: expected f32"),
    ({"threads": -1}, "threads: expected a number in"),
    ({"recompute": "some"}, "recompute: expected none, cheap or all, but got 'some'"),
    ({"threads": 10 ** 10}, "threads: expected a number in [1, 1024], but got '10000000000'"),
    ({"threads": "2"}, "threads: expected an integer, but got '2'"),
    ({"target": None}, "target: expected a string, but got None"),
    ({"generation": (1, 2)}, "generation: expected (batch, prompt, capacity), but got (1, 2)"),
    ({"schedule": 3}, "schedule: expected a path, but got 3"),
    ({"schedule": "tuned.json"}, "schedule: expected no schedules for the target cpu, but got 'tuned.json'"),
])
def test_bad_targets(model, options, message):
    with pytest.raises(nag.ArgumentError) as error:
        model.compile(["loss"], **options)
    assert message in str(error.value)


def test_schedules_of_gpu_kernels(tmp_path):
    """From a file as nagc tune writes it, or as a dictionary; not the least bit of a result changes."""
    f = nag.ModuleBuilder().function("f", x="tensor<4x8xf32>")
    f.returns(y=f.op("nag.relu2", f.x))
    model, x = nag.Model.from_text(f.text()), np.arange(-16, 16, dtype=np.float32).reshape(4, 8)
    key = "rows relu2: 4x8xf32 -> 4x8xf32"
    schedule = {"chip": "sm_80", "kernels": {key: {"family": "rows", "threads": 2, "rows": 16, "width": 4}}}
    (tmp_path / "tuned.json").write_text(json.dumps(schedule))
    for given in (None, schedule, tmp_path / "tuned.json"):
        program = model.compile(target="cuda", device="vm", schedule=given)
        assert np.array_equal(program.to_host(program.call("f", x=program.to_device(x))["y"]), np.maximum(x, 0) ** 2)
    schedule["kernels"][key]["threads"] = 3
    for given, message in (
            ({"kernels": {"mine": []}}, r"^schedule: kernel 'mine': expected an object, but got \[\]$"),
            (schedule, f"^schedule: kernel '{key}': expected 'threads' that are a power of two"),
            ({"chip": "sm_90a", "kernels": {}}, "^schedule: field 'chip': expected 'sm_80', but got 'sm_90a'$"),
            (tmp_path / "none.json", "none.json: No such file")):
        with pytest.raises(nag.CompileError, match=message) as error:
            model.compile(target="cuda", device="vm", schedule=given)
        assert str(error.value) in str(error.value.diagnostics[0])
    with pytest.raises(nag.ArgumentError, match="schedule: expected what JSON can hold"):
        model.compile(target="cuda", device="vm", schedule={"kernels": {1}})


def test_ptx_is_kept_in_a_folder(tmp_path):
    f = nag.ModuleBuilder().function("f", x="tensor<4x8xf32>")
    f.returns(y=f.op("nag.relu2", f.x))
    model, x = nag.Model.from_text(f.text()), np.ones((4, 8), np.float32)
    for _ in range(2):  # the second time, from the folder
        program = model.compile(target="cuda", device="vm", kernel_cache=tmp_path / "kept")
        assert np.array_equal(program.to_host(program.call("f", x=program.to_device(x))["y"]), x)
        assert len(list((tmp_path / "kept").rglob("*.ptx"))) == 1
    model.compile(target="cuda", device="vm", kernel_cache="")
    (tmp_path / "file").write_text("")
    with pytest.raises(nag.Error, match="file"):
        model.compile(target="cuda", device="vm", kernel_cache=tmp_path / "file")
    with pytest.raises(nag.ArgumentError, match="kernel-cache: expected no kernel cache for the target cpu, but got 'kept'"):
        model.compile(kernel_cache="kept")


def test_missing_function_of_a_model(model):
    with pytest.raises(nag.Error, match="model: expected a function @f, but got none"):
        model.compile(["f"])


def test_closed_programs(model):
    program = model.compile(["loss"])
    weights = program.weights(seed=0)
    call = program.function("loss").bind(**loss_arguments(weights))
    call()
    view = weights["lm_head.weight"]
    with program:
        pass
    for use in (call, lambda: program.call("loss", **loss_arguments(weights)), lambda: program.weights(seed=1)):
        with pytest.raises(nag.ClosedError, match="the program is closed"):
            use()
    total = view.sum()
    del program, weights, call
    assert view.sum() == total  # the array keeps its memory


#===- Training ------------------------------------------------------------===#


def test_training_learns_and_resumes_bit_for_bit(model, tmp_path):
    tokens, targets = batch(7)
    trainer = nag.Trainer(model, seed=5, warmup=2)
    losses = [trainer.step(tokens, targets).loss for _ in range(6)]
    assert losses[-1] < losses[0] and trainer.evaluate(tokens, targets) < losses[0]
    path = trainer.save(tmp_path)
    trainer.step(tokens, targets)
    other = nag.Trainer(model, warmup=2)
    other.load(path)
    assert (other.steps, other.seed) == (6, 5)
    other.step(tokens, targets)
    assert all(np.array_equal(a, other.weights[name]) for name, a in trainer.weights.items())
    assert trainer.gates.shape == (4, 2, 8) and trainer.logits(tokens).shape == (2, 8, 64)


def test_prenorm_models_train():
    trainer = nag.Trainer(nag.Model(**{**SMALL, "residual": "prenorm"}))
    tokens, targets = batch()
    losses = [trainer.step(tokens, targets).loss for _ in range(5)]
    assert losses[-1] < losses[0]


def test_trainer_refuses_foreign_tokens(model):
    trainer = nag.Trainer(model)
    tokens, targets = batch()
    with pytest.raises(nag.ArgumentError, match=r"tokens: expected tokens in \[0, 64\), but got 99"):
        trainer.step(np.where(tokens == tokens[0, 0], np.int32(99), tokens), targets)
    with pytest.raises(nag.ArgumentError, match=r"targets: expected tokens in \[-1, 64\), but got -2"):
        trainer.step(tokens, np.full_like(targets, -2))
    for options, message in (({"lr": -1}, "lr: expected a finite value of at least 0, but got -1.0"), ({"seed": "a"}, "seed: expected an "),
                             ({"clip": np.inf}, "clip: expected a finite value"), ({"warmup": 0.5}, "warmup: expected an integer")):
        with pytest.raises(nag.ArgumentError, match=message):
            nag.Trainer(model, threads=1, **options)
    trainer.weights["lm_head.weight"][...] = np.nan
    with pytest.raises(ArithmeticError, match="step 1: expected a finite loss, but got nan"):
        trainer.step(tokens, targets)


def test_whole_runs(tmp_path):
    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 200)
    model = nag.Model(**{**SMALL, "vocab": 256})
    result = nag.train(model, text, steps=5, checkpoint_dir=tmp_path / "run", val_interval=5, warmup=1,
                       alpha_warmup=0)
    assert result.step == 5 and result.validation.tokens > 0 and os.path.exists(result.checkpoint)
    assert nag.evaluate(model, tmp_path / "run", [text]).loss == pytest.approx(result.validation.loss)
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 5
    with pytest.raises(nag.ArgumentError, match="but got 'step'"):
        nag.train(model, text, step=5)
    with pytest.raises(nag.ArgumentError, match="steps: expected a finite value of at least 1"):
        nag.train(model, text, steps=0)
    for option, value, message in (("steps", "5", "expected an integer, but got '5'"), ("lr", "x", "expected a number, but got 'x'"),
                                   ("log", 3, "expected a path, but got 3"), ("seed", -1, "expected at least 0, but got -1"),
                                   ("steps", 2 ** 70, "expected an integer of 64 bits")):
        with pytest.raises(nag.ArgumentError, match=f"{option}: {message}"):
            nag.train(model, text, **{option: value})
    with pytest.raises(nag.Error, match="No such file"):
        nag.train(model, tmp_path / "none", steps=1)


def test_mismatched_checkpoints(model, program, tmp_path):
    weights = program.weights(seed=1)
    weights.save(tmp_path / "weights.safetensors")
    copy = program.weights()
    copy.load(tmp_path / "weights.safetensors")
    assert all(np.array_equal(copy[name], weights[name]) for name in weights)
    other = nag.Model(**{**SMALL, "width": 64}).compile(["loss"]).weights(seed=2)
    before = other["lm_head.weight"].copy()
    with pytest.raises(nag.CheckpointError, match="config field 'width': expected 64, but got 32"):
        other.load(tmp_path / "weights.safetensors")
    assert np.array_equal(before, other["lm_head.weight"])
    (tmp_path / "cut").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:1000])
    with pytest.raises(nag.CheckpointError, match="truncated"):
        copy.load(tmp_path / "cut")
    with pytest.raises(nag.CheckpointError, match="expected a training checkpoint"):
        nag.Trainer(model).load(tmp_path / "weights.safetensors")


#===- Processes -----------------------------------------------------------===#


def test_several_models_side_by_side():
    sizes = (16, 32, 64)
    programs = [nag.Model(**{**SMALL, "width": width}).compile(["loss"]) for width in sizes]
    weights = [program.weights(seed=1) for program in programs]
    first = [p.call("loss", **loss_arguments(w))["loss"].item() for p, w in zip(programs, weights)]
    again = [p.call("loss", **loss_arguments(w))["loss"].item() for p, w in reversed(list(zip(programs, weights)))]
    assert first == again[::-1] and len(set(first)) == len(sizes)


def test_threads_share_programs(program, weights):
    expected = program.call("loss", **loss_arguments(weights))["loss"].item()
    got = []

    def work():
        for _ in range(20):
            got.append(program.call("loss", **loss_arguments(weights))["loss"].item())

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert got == [expected] * 80


def test_threads_compile(model):
    results = []
    threads = [threading.Thread(target=lambda: results.append(model.compile(["loss"]))) for _ in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 3


def test_calls_release_the_gil():
    model = nag.Model(layers=4, width=256, heads=4, seq=256, batch=4)
    program = model.compile(["loss"], threads=1)
    weights = program.weights(seed=0)
    tokens = np.zeros((4, 256), np.int32)
    call = program.function("loss").bind(tokens=tokens, targets=tokens, gate_scale=1.0, **weights.arguments("loss"))
    call()
    done, ticks = threading.Event(), []
    worker = threading.Thread(target=lambda: ([call() for _ in range(3)], done.set()))
    worker.start()
    while not done.is_set():
        ticks.append(time.perf_counter())
        time.sleep(0.001)
    worker.join()
    # With the GIL held, this thread would run three or four times in all.
    assert len(ticks) > 10


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_no_leak_over_a_thousand_steps():
    trainer = nag.Trainer(nag.Model(layers=1, width=16, heads=1, seq=8, batch=2, vocab=64), threads=1)
    tokens, targets = batch()

    def steps(count):
        for _ in range(count):
            trainer.step(tokens, targets)
            trainer.evaluate(tokens, targets)
            trainer.logits(tokens)

    steps(100)
    before = resident_bytes()
    steps(1000)
    assert resident_bytes() - before < 1 << 20


def test_freed_programs_give_their_memory_back():
    def use():
        program = nag.Model(layers=1, width=64, heads=1, seq=64, batch=16).compile(["loss"], threads=1)
        return sum(w.nbytes for w in program.weights(seed=0).values())

    use()
    before = resident_bytes()
    [use() for _ in range(3)]
    assert resident_bytes() - before < 12 << 20


def test_calls_go_to_streams_of_the_caller():
    """The driver's own handles, as torch's current stream has them; the CPU has none."""
    module = nag.ModuleBuilder()
    f = module.function("f", x="tensor<4x8xf32>")
    f.returns(y=f.op("nag.relu2", f.x))
    model, x = module.build(), np.arange(-16, 16, dtype=np.float32).reshape(4, 8)
    program = model.compile(target="cuda", device="vm")
    call = program.function("f").bind(x=program.to_device(x))
    call()
    driver, stream = ctypes.CDLL(str(harness.build_folder() / "lib" / "libnagptxvm-cuda.so")), ctypes.c_void_p()
    assert driver.cuStreamCreate(ctypes.byref(stream), 1) == 0
    for handle in (stream.value, 0, None, stream.value):
        program.to_host(call.results["y"])
        assert np.array_equal(program.to_host(call(handle)["y"]), np.maximum(x, 0) ** 2)
    assert driver.cuStreamDestroy_v2(stream) == 0
    call()  # the program keeps nothing of the stream
    with pytest.raises(nag.ArgumentError, match="stream: expected an integer, but got 'default'"):
        call("default")
    with pytest.raises(nag.Error, match="stream: expected a program on a device with streams, but got one on the host"):
        model.compile().function("f").bind(x=x)(0)


def test_arrays_of_another_target_live_on_its_device():
    """The PTX machine in place of a GPU: DLPack arrays of type CUDA, the same numbers as on the CPU."""
    sizes = {**SMALL, "layers": 1, "gate_directions": 8}
    losses = []
    for target in ({"threads": 1}, {"target": "cuda", "device": "vm"}):
        trainer = nag.Trainer(nag.Model(**sizes), seed=3, **target)
        tokens, targets = batch()
        losses.append([trainer.step(tokens, targets).loss for _ in range(2)] + [trainer.evaluate(tokens, targets)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    weights = trainer.weights["lm_head.weight"]
    assert trainer.program.device == (2, 0) and not trainer.program.on_host
    assert weights.__dlpack_device__() == (2, 0)
    host = trainer.program.to_host(weights)
    assert np.array_equal(trainer.program.to_host(trainer.program.to_device(host)), host)
    with pytest.raises(nag.ArgumentError, match="expected an array on cuda:0, but got one on cpu"):
        trainer.program.call("constrain", **dict.fromkeys(trainer.weights.arguments("constrain"), host))

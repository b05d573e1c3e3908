# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Public checkpoints: logits of docs/mathematics.md section 7 in plain float32, round trips, bad files, tokenizers."""

import json
import subprocess

import numpy as np
import pytest

import harness

nag = pytest.importorskip("nag", reason="the Python package is not built: nanobind was not found")

LAYERS, WIDTH, HEADS, KV_HEADS, VOCAB, PADDED, C, SEQ = 3, 48, 4, 2, 50, 64, 8, 40
META = {"step": 7, "model_config": {"sequence_len": SEQ, "vocab_size": VOCAB, "n_layer": LAYERS, "n_head": HEADS,
                                    "n_kv_head": KV_HEADS, "n_embd": WIDTH, "window_pattern": "L"}}
EPS = np.float32(2.0 ** -23)


def public_weights(seed=0):
    """A state dict as the public checkpoints hold it."""
    rng, kv = np.random.default_rng(seed), WIDTH // HEADS * KV_HEADS

    def make(*shape, std=0.15):
        return np.asarray(rng.normal(0, std, shape), np.float32)

    wte, head = make(PADDED, WIDTH, std=1), make(PADDED, WIDTH, std=1)
    wte -= wte.mean(1, keepdims=True)
    head -= head.mean(1, keepdims=True)
    head /= np.sqrt((head ** 2).mean(1, keepdims=True))
    state = {"transformer.wte.weight": wte, "lm_head.weight": head, "g_log_encode": np.float32(2.5)}
    for i in range(LAYERS):
        h = f"transformer.h.{i}."
        for name, shape in {"attn.c_q": (WIDTH, WIDTH), "attn.c_k": (kv, WIDTH), "attn.c_v": (kv, WIDTH),
                            "attn.c_proj": (WIDTH, WIDTH), "mlp.c_fc": (4 * WIDTH, WIDTH),
                            "mlp.c_proj": (WIDTH, 4 * WIDTH)}.items():
            state[f"{h}{name}.weight"] = make(*shape)
        for j, branch in enumerate(("attn_branch", "mlp_branch")):
            state |= {f"{h}{branch}.m_down.weight": make(C, WIDTH), f"{h}{branch}.m_down.bias": make(C),
                      f"{h}{branch}.coef": make(C), f"{h}{branch}.beta": make() + np.float32(0.5),
                      f"{h}{branch}.alpha": np.float32((2 * i + j + 1) ** -0.5)}
    return {name: np.asarray(x, np.float32) for name, x in state.items()}


def plain_logits(state, tokens):
    """Spec sections 1 to 3, 5 and 7 in float32, one sequence, every matrix written out."""
    def rms(x):
        return np.sqrt((x * x).mean(-1, keepdims=True) + EPS)

    def rotary(x):  # [T, heads, hd]
        half = x.shape[-1] // 2
        angle = np.outer(np.arange(len(x)), 1e5 ** (-2.0 * np.arange(half) / x.shape[-1]))[:, None, :]
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        x1, x2 = x[..., :half], x[..., half:]
        return np.concatenate([x1 * cos + x2 * sin, -x1 * sin + x2 * cos], -1)

    def attention(r, h):
        q, k, v = ((r @ state[f"{h}attn.c_{n}.weight"].T).reshape(len(r), heads, -1)
                   for n, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)))
        q, k = (np.float32(1.2) * x / rms(x) for x in (rotary(q), rotary(k)))
        k, v = (np.repeat(x, HEADS // KV_HEADS, 1) for x in (k, v))
        scores = np.einsum("thd,shd->hts", q, k) / np.float32(np.sqrt(q.shape[-1]))
        scores = np.where(np.tri(len(r), dtype=bool), scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("hts,shd->thd", p / p.sum(-1, keepdims=True), v)
        return mixed.reshape(len(r), -1) @ state[f"{h}attn.c_proj.weight"].T

    def mlp(r, h):
        return np.maximum(r @ state[f"{h}mlp.c_fc.weight"].T, 0) ** 2 @ state[f"{h}mlp.c_proj.weight"].T

    def update(r, s, f, h):
        a = 1 / (1 + np.exp(-(r @ state[h + "m_down.weight"].T + state[h + "m_down.bias"])))
        pi = np.exp(state[h + "coef"]) / np.exp(state[h + "coef"]).sum()
        g = state[h + "alpha"] * np.maximum(a @ pi, np.float32(1e-6)) ** np.log1p(np.exp(state[h + "beta"]))
        c = f - f.mean(-1, keepdims=True)
        u = c - (c * r).sum(-1, keepdims=True) / (r * r).sum(-1, keepdims=True) * r
        y = r + g[:, None] * u / rms(u)
        return y / rms(y), s + np.log1p(g * g) / 2

    x = state["transformer.wte.weight"][tokens]
    rho = np.sqrt((x * x).mean(-1))
    r, s = x / rho[:, None], np.log(rho) + state["g_log_encode"]
    for i in range(LAYERS):
        h = f"transformer.h.{i}."
        r, s = update(r, s, attention(r, h), h + "attn_branch.")
        r, s = update(r, s, mlp(r, h), h + "mlp_branch.")
    return (r @ state["lm_head.weight"].T / np.float32(WIDTH) * np.exp(s)[:, None])[:, :VOCAB]


def write_safetensors(path, state, dtype="F32"):
    header, blobs, offset = {}, [], 0
    for name, x in state.items():
        data = x.tobytes()
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [offset, offset + len(data)]}
        blobs.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def read_safetensors(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F32": np.float32, "BF16": np.uint16}
    return {name: np.frombuffer(data[start + e["data_offsets"][0]:start + e["data_offsets"][1]],
                                types[e["dtype"]]).reshape(e["shape"])
            for name, e in json.loads(data[8:start]).items() if name != "__metadata__"}


def nagc(*arguments):
    return harness.run([harness.build_folder() / "bin" / "nagc", *arguments])


def fails(*arguments):
    command = [str(x) for x in (harness.build_folder() / "bin" / "nagc", *arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    state = public_weights()
    write_safetensors(folder / "public.safetensors", state)
    (folder / "meta.json").write_text(json.dumps(META))
    nagc("import", folder / "public.safetensors", "--config", folder / "meta.json", "-o", folder / "imported")
    return folder, state


def logits_of(model, path, tokens):
    program = model.compile(["logits"], threads=1)
    weights = nag.Weights(program)
    weights.load(path)
    batch = np.zeros((model.config.batch, SEQ), np.int32)
    batch[0] = tokens
    return program.call("logits", tokens=batch, gate_scale=1.0, **weights.arguments("logits"))["logits"][0, :, :VOCAB]


def test_logits_equal_a_plain_float32_implementation(public):
    folder, state = public
    model = nag.Model.from_file(folder / "imported" / "model.mlir")
    tokens = np.random.default_rng(2).integers(0, VOCAB, SEQ)
    expected = plain_logits(state, tokens)
    got = logits_of(model, folder / "imported" / "weights.safetensors", tokens)
    assert np.abs(got - expected).max() <= 1e-4
    assert np.abs(expected).max() > 1  # the limit means something


def test_round_trip_is_bit_exact(public, tmp_path):
    folder, state = public
    nagc("export", folder / "imported" / "weights.safetensors", "-o", tmp_path / "back.safetensors", "--config-out",
         tmp_path / "meta.json")
    back = read_safetensors(tmp_path / "back.safetensors")
    assert back.keys() == state.keys()
    assert all(back[name].tobytes() == x.tobytes() and back[name].shape == x.shape for name, x in state.items())
    assert json.loads((tmp_path / "meta.json").read_text())["model_config"] == META["model_config"]


@pytest.mark.parametrize("settings", [("mlp=gelu", "tied=true", "rope_base=500"), ("mlp=swiglu", "qk_norm=none", "eps=1e-3"),
                                      ("qk_norm=learned", "qk_scale=0.5"), ("window=3",)], ids=" ".join)
def test_what_no_shape_tells_survives(tmp_path, settings):
    """Activations, norms and constants: the exported keys alone give the same model again."""
    text = tmp_path / "text"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 50)
    sizes = ("layers=2", "width=32", "heads=2", "kv_heads=1", "seq=16", "batch=2", "project_std=0.3")
    nagc("model", "-o", tmp_path / "m.mlir", *(x for s in (*sizes, *settings) for x in ("--set", s)))
    nagc("train", tmp_path / "m.mlir", "--data", text, "--steps", 1, "--val-interval", 0, "--checkpoint-dir", tmp_path / "run")
    nagc("export", tmp_path / "run", "-o", tmp_path / "public.safetensors", "--config-out", tmp_path / "meta.json")
    nagc("import", tmp_path / "public.safetensors", "--config", tmp_path / "meta.json", "--set", "batch=2", "-o", tmp_path / "back")
    before = nagc("eval", tmp_path / "m.mlir", "--checkpoint", tmp_path / "run", "--data", text, "--json")
    after = nagc("eval", tmp_path / "back" / "model.mlir", "--checkpoint", tmp_path / "back" / "weights.safetensors",
                 "--data", text, "--json")
    assert before == after
    assert json.loads((tmp_path / "meta.json").read_text())["model_config"].keys() == META["model_config"].keys()


def test_bfloat16_round_trip(public, tmp_path):
    folder, state = public
    halves = {name: np.asarray(x.view(np.uint32) >> 16, np.uint16) for name, x in state.items()}
    prefixed = {"_orig_mod." + name: x for name, x in halves.items()}
    prefixed["_orig_mod.g_log_encode"] = prefixed["_orig_mod.g_log_encode"].reshape(1)  # as some files have it
    write_safetensors(tmp_path / "half.safetensors", prefixed, "BF16")
    nagc("import", tmp_path / "half.safetensors", "--config", folder / "meta.json", "-o", tmp_path / "ours")
    nagc("export", tmp_path / "ours" / "weights.safetensors", "-o", tmp_path / "back.safetensors", "--dtype", "bf16")
    back = read_safetensors(tmp_path / "back.safetensors")
    assert all(back[name].tobytes() == x.tobytes() for name, x in halves.items())


def test_python_does_the_same(public, tmp_path):
    folder, _ = public
    model = nag.import_checkpoint(folder / "public.safetensors", tmp_path / "w.safetensors", heads=HEADS, seq=SEQ,
                                  vocab=VOCAB, kv_heads=KV_HEADS, window="L")
    assert model.config == nag.Model.from_file(folder / "imported" / "model.mlir").config
    assert (tmp_path / "w.safetensors").read_bytes() == (folder / "imported" / "weights.safetensors").read_bytes()
    nag.export_checkpoint(tmp_path / "w.safetensors", tmp_path / "back.safetensors", dtype="f32")
    assert read_safetensors(tmp_path / "back.safetensors").keys() == public_weights().keys()
    with pytest.raises(nag.ArgumentError, match="dtype: expected f32, bf16, f16 or f64, but got 'f8'"):
        nag.export_checkpoint(tmp_path / "w.safetensors", tmp_path / "back.safetensors", dtype="f8")


def test_training_goes_on_from_public_weights(public):
    folder, state = public
    model = nag.Model.from_file(folder / "imported" / "model.mlir")
    trainer = nag.Trainer(nag.Model(model.config.replace(batch=2)), threads=1)
    trainer.weights.load(folder / "imported" / "weights.safetensors")
    assert np.array_equal(trainer.weights["transformer.h.1.mlp_branch.coef"], state["transformer.h.1.mlp_branch.coef"])
    tokens = np.random.default_rng(0).integers(0, VOCAB, (2, SEQ), dtype=np.int32)
    losses = [trainer.step(tokens, tokens).loss for _ in range(4)]
    assert losses[-1] < losses[0]


def edit(state, **changes):
    return {name: x for name, x in {**state, **changes}.items() if x is not None}


@pytest.mark.parametrize("changes, config, message", [
    ({"lm_head.weight": None}, {}, "tensor 'lm_head.weight': expected 64x48xf32, but the file has no such tensor"),
    ({"extra": np.zeros(2, np.float32)}, {}, "tensor 'extra': not a parameter of this model"),
    ({"transformer.h.1.attn.c_k.weight": np.zeros((3, WIDTH), np.float32)}, {},
     "tensor 'transformer.h.1.attn.c_k.weight': expected 24x48xf32, but got 3x48xf32"),
    ({}, {"n_layer": 4}, "layers: expected 3, as the tensors of"),
    ({}, {"n_layers": 3}, "expected a key of a model, but got 'n_layers'"),
    ({}, {"n_head": None}, "expected the number of heads, which no shape tells"),
    ({}, {"n_head": 5}, "heads: expected a divisor of width = 48, but got 5"),
    ({}, {"n_embd": "48"}, 'width: expected an integer in [1, 1048576], but got "48"'),
    ({"transformer.wte.weight": None}, {}, "expected it in a checkpoint of the public layout"),
])
def test_bad_public_checkpoints(changes, config, message, tmp_path):
    write_safetensors(tmp_path / "public.safetensors", edit(public_weights(), **changes))
    keys = edit(META["model_config"], **config)
    (tmp_path / "meta.json").write_text(json.dumps({"model_config": keys}))
    error = fails("import", tmp_path / "public.safetensors", "--config", tmp_path / "meta.json", "-o", tmp_path / "out")
    assert message in error
    assert not (tmp_path / "out" / "weights.safetensors").exists()


def test_bad_exports(tmp_path):
    write_safetensors(tmp_path / "other.safetensors", {"x": np.zeros(2, np.float32)})
    assert "expected a model's weights" in fails("export", tmp_path / "other.safetensors", "-o", tmp_path / "y")
    assert "No such file" in fails("export", tmp_path / "none", "-o", tmp_path / "y")
    with pytest.raises(nag.CheckpointError, match="expected torch to be installed|expected a state dict"):
        (tmp_path / "model.pt").write_bytes(b"not a checkpoint")
        nag.import_checkpoint(tmp_path / "model.pt", tmp_path / "z", heads=4)


def test_tokenizers(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"the": 0, "cat": 1, "sat": 2, "<end>": 3}, "<end>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ours = nag.Tokenizer(tmp_path / "tokenizer.json")
    assert ours.encode("the cat sat").tolist() == [0, 1, 2] and ours.decode([2, 1]) == "sat cat"
    assert ours.vocabulary == 4 and ours.token("<end>") == 3
    (tmp_path / "text").write_text("the cat sat")
    assert ours.encode_file(tmp_path / "text", tmp_path / "text.bin") == 3
    assert np.fromfile(tmp_path / "text.bin", "<u2").tolist() == [0, 1, 2]
    for use, message in ((lambda: ours.token("dog"), "expected a token of the vocabulary, but got 'dog'"),
                         (lambda: ours.encode_file(tmp_path / "text", tmp_path / "x"), "ends in .bin"),
                         (lambda: nag.Tokenizer(tmp_path / "text"), "expected a tokenizer.json")):
        with pytest.raises(nag.Error, match=message):
            use()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generation with a cache: equal to the whole forward pass token by token, batches, rings, sampling."""

import doctest
import subprocess

import numpy as np
import pytest

import harness

nag = pytest.importorskip("nag", reason="the Python package is not built: nanobind was not found")

BASE = {"layers": 3, "width": 32, "heads": 4, "kv_heads": 2, "seq": 24, "batch": 1, "vocab": 61, "padded_vocab": 64,
        "project_std": 0.1}
FORMS = {"nag": {}, "prenorm": {"residual": "prenorm"}, "swiglu, learned norm": {"mlp": "swiglu", "qk_norm": "learned"},
         "tied, no norm": {"tied": True, "qk_norm": "none"}, "window": {"window": "5"}, "double": {"dtype": "f64"}}


def weights_of(model):
    """Weights with enough in them that every part of the graph shows."""
    config = model.config.replace(mod_policy="none", mod_rate=0.0, mod_kv="all", mod_exempt=None)
    weights = nag.Trainer(nag.Model(config), seed=4, threads=1).weights
    for name, array in weights.items():
        if name.endswith("coef") or name.endswith("bias") or name == "g_log_encode":
            array[...] = np.random.default_rng(len(name)).normal(size=array.shape)
    return weights


def full_logits(model, weights, tokens, **routing):
    """What @logits says of every position."""
    program = model.compile(["logits"], threads=1)
    padded = np.zeros((1, model.config.seq), np.int32)
    padded[0, :len(tokens)] = tokens
    scale = {"gate_scale": 1.0} if model.config.residual == "nag" else {}
    return program.call("logits", tokens=padded, **scale, **routing,
                        **weights.arguments("logits"))["logits"][0, :, :61]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_decoding_equals_the_whole_forward_pass(form):
    model = nag.Model(**{**BASE, **form})
    weights = weights_of(model)
    tokens = np.random.default_rng(0).integers(0, 61, 24)
    expected = full_logits(model, weights, tokens)
    generator = nag.Generator(model, weights, batch=2, prompt=7, threads=1)
    limit = (1e-12 if model.config.dtype == "f64" else 5e-6) * np.abs(expected).max()
    generator.start([tokens[:7], tokens[:2]])
    for position in range(7, 24):
        assert np.abs(generator.logits(0) - expected[position - 1]).max() <= limit, position
        behind = position - 5  # the other sequence lags behind
        assert np.abs(generator.logits(1) - expected[behind - 1]).max() <= limit, position
        generator.append([tokens[position], tokens[behind]])
    assert np.abs(generator.logits(0) - expected[23]).max() <= limit


def median_thresholds(model, weights, tokens):
    """Thresholds that let half of the tokens skip, as the model skips; which tokens each sub-layer executes then."""
    program = model.compile(["loss"], threads=1)
    batch = np.asarray(tokens, np.int32)[None]

    def gates_of(thresholds):
        results = program.call("loss", tokens=batch, targets=batch, gate_scale=1.0, thresholds=thresholds,
                               **weights.arguments("loss"))
        return np.abs(results["gates"][:, 0])

    thresholds = np.zeros(2 * model.config.layers, np.float32)
    for _ in range(3):
        thresholds = np.median(gates_of(thresholds), axis=-1) + np.float32(1e-6)
    executed = gates_of(thresholds) >= thresholds[:, None]
    if model.config.mod_exempt != 0:
        executed[[0, 1, -2, -1]] = True
    return thresholds, executed


def count_held(model, executed, read):
    """Keys that the next token sees, of all layers together."""
    window = model.config.seq if model.config.window == "L" else int(model.config.window)
    attention = executed[::2, :read] if model.config.mod_kv == "routed" else np.ones((model.config.layers, read))
    return int(attention[:, max(0, read - window):].sum())


ROUTED = {"threshold": {"mod_policy": "threshold"}, "rate, window": {"mod_policy": "rate", "mod_rate": 0.5, "window": "5"},
          "every layer": {"mod_policy": "threshold", "mod_exempt": 0, "layers": 2}}
for policy in ("threshold", "rate, window"):
    ROUTED[policy + ", keys routed"] = {**ROUTED[policy], "mod_kv": "routed"}


@pytest.mark.parametrize("form", ROUTED.values(), ids=ROUTED)
def test_decoding_under_routing_equals_the_whole_forward_pass(form):
    """A token that skips attention leaves its key and value behind all the same, or neither where keys are routed."""
    model = nag.Model(**{**BASE, **form})
    weights = weights_of(model)
    tokens = np.random.default_rng(0).integers(0, 61, 24)
    thresholds, executed = median_thresholds(model, weights, tokens)
    expected = full_logits(model, weights, tokens, thresholds=thresholds)
    dense = full_logits(model, weights, tokens, thresholds=0.0 * thresholds)
    limit = 5e-6 * np.abs(expected).max()
    assert np.abs(dense - expected).max() > 100 * limit
    budget = {"kv_budget": 1.0} if model.config.mod_kv == "routed" else {}
    generator = nag.Generator(model, weights, batch=2, prompt=7, threads=1, thresholds=thresholds, **budget)
    generator.start([tokens[:7], tokens[:2]])
    row = 2 * 4 * model.config.kv_heads * (model.config.width // model.config.heads)
    for position in range(7, 24):
        assert np.abs(generator.logits(0) - expected[position - 1]).max() <= limit, position
        behind = position - 5
        assert np.abs(generator.logits(1) - expected[behind - 1]).max() <= limit, position
        held = count_held(model, executed, position) + count_held(model, executed, behind)
        assert generator.cache_use()["held_bytes"] == row * held, position
        generator.append([tokens[position], tokens[behind]])


def test_budgets_of_keys():
    """Rows that layers share: the allocated ones are those of the rate, or as asked for; full ones stop, or go on with half."""
    model = nag.Model(**BASE, mod_policy="rate", mod_rate=0.5, mod_kv="routed")
    weights = weights_of(model)
    row = 2 * 4 * 16
    tokens = list(range(24))
    generator = nag.Generator(model, weights, prompt=4, threads=1, thresholds=[0.0] * 6)
    assert generator.cache_use() == {"tokens": 0, "held_bytes": 0, "allocated_bytes": row * (24 + 12 + 24), "bytes_per_token": 0}
    generator.start([tokens[:4]])
    for position in range(4, 21):  # nothing skips: three rows a token fill 60 with 20 tokens, and the 21st has no room
        generator.append([tokens[position]])
    assert generator.cache_use()["held_bytes"] == row * 60
    with pytest.raises(nag.ArgumentError, match=r"sequence 0: expected keys and values within the budget of 7680 bytes for 1 "
                                                "sequences, but its 21 tokens have more"):
        generator.append([tokens[21]])
    text = generator.generate([tokens[:2]], tokens=40, temperature=0)[0]
    history, expected = tokens[:2], []
    for _ in range(40):
        if len(history) > 21:
            history = history[-10:]
        expected.append(int(full_logits(model, weights, history, thresholds=np.zeros(6, np.float32))[len(history) - 1].argmax()))
        history.append(expected[-1])
    assert text == expected
    for budget in (0.0, 1.5, float("nan")):
        with pytest.raises(nag.ArgumentError, match=r"kv_budget: expected a share in \(0, 1\], but got"):
            nag.Generator(model, weights, threads=1, kv_budget=budget)
    with pytest.raises(nag.CompileError, match=r"expected 'budget' only where keys are those of executed tokens"):
        nag.Generator(nag.Model(**BASE), weights, threads=1, kv_budget=0.5)


def test_thresholds_that_generation_needs():
    model = nag.Model(**BASE, mod_policy="threshold")
    weights = weights_of(nag.Model(**BASE))
    with pytest.raises(nag.ArgumentError, match="thresholds: expected 6, one per sub-layer"):
        nag.Generator(model, weights, threads=1)
    with pytest.raises(nag.ArgumentError, match="thresholds: expected numbers, but got NaN"):
        nag.Generator(model, weights, threads=1, thresholds=[0.0] * 5 + [np.nan])
    refused = nag.Model(**BASE, mod_policy="capacity", mod_rate=0.5, mod_kv="routed")
    with pytest.raises(nag.CompileError, match="still to come"):
        nag.Generator(refused, weights, threads=1)


def test_mixed_windows():
    model = nag.Model(**{**BASE, "window": "SL", "seq": 300, "layers": 2})
    assert model.config.replace(seq=300).window == "SL"
    weights = weights_of(model)
    tokens = np.random.default_rng(1).integers(0, 61, 290)
    expected = full_logits(model, weights, tokens)
    generator = nag.Generator(model, weights, prompt=280, threads=1)
    generator.start([tokens[:280]])
    for position in range(280, 290):
        assert np.abs(generator.logits() - expected[position - 1]).max() <= 5e-6 * np.abs(expected).max()
        generator.append([tokens[position]])


@pytest.fixture(scope="module")
def generator():
    model = nag.Model(**BASE)
    return nag.Generator(model, weights_of(model), batch=3, prompt=4, threads=1)


def test_greedy_equals_choosing_by_hand(generator):
    prompt = [3, 1, 4, 1, 5, 9]
    got = generator.generate(prompt, tokens=8, temperature=0)[0]
    history = list(prompt)
    for token in got:
        assert token == full_logits(nag.Model(**BASE), generator.weights, history)[len(history) - 1].argmax()
        history.append(token)


def test_sequences_of_a_batch_go_as_they_go_alone(generator):
    prompts = [[1, 2, 3], [7], [5] * 9]
    together = generator.generate(prompts, tokens=6, seed=11)
    for i, prompt in enumerate(prompts):
        assert generator.generate(prompt, tokens=6, seed=11 + i)[0] == together[i]


def test_seeds_and_limits(generator):
    a, b, c = (generator.generate([1, 2], tokens=12, seed=s)[0] for s in (1, 1, 2))
    assert a == b != c and all(0 <= t < 61 for t in a + c)
    greedy = generator.generate([1, 2], tokens=12, temperature=0)[0]
    assert generator.generate([1, 2], tokens=12, top_k=1, seed=5)[0] == greedy
    assert generator.generate([1, 2], tokens=12, top_p=1e-9, seed=5)[0] == greedy
    assert generator.generate([1, 2], tokens=0)[0] == []


def test_top_p_draws_from_the_nucleus(generator):
    generator.start([[1, 2]])
    logits = generator.logits()
    p = np.exp(logits - logits.max())
    order = np.argsort(-p, kind="stable")
    nucleus = order[:np.searchsorted(np.cumsum(p[order]) / p.sum(), 0.5) + 1]
    drawn = {generator.generate([1, 2], tokens=1, top_p=0.5, seed=s)[0][0] for s in range(60)}
    assert drawn <= set(nucleus.tolist()) and (len(drawn) > 1 or len(nucleus) == 1)


def test_stop_tokens_and_streams(generator):
    greedy = generator.generate([1, 2], tokens=10, temperature=0)[0]
    stop = greedy[4]
    assert generator.generate([1, 2], tokens=10, temperature=0, stop=stop)[0] == greedy[:greedy.index(stop) + 1]
    stream = generator.stream([[1, 2], [3]], tokens=3, temperature=0)
    assert [sorted(s for s, _ in new) for new in stream] == [[0, 1]] * 3


def test_streams_that_others_interrupt(generator):
    """The sequences are the generator's: a stream does not go on with another's."""
    greedy = [list(generator.stream(prompt, tokens=3, temperature=0)) for prompt in ([1, 2], [5])]
    for begin in (lambda: next(generator.stream([5], tokens=3)), lambda: generator.generate([5], tokens=1),
                  lambda: generator.start([[5]]), lambda: generator.append([5, -1, -1])):
        stream = generator.stream([1, 2], tokens=3, temperature=0)
        assert next(stream) == greedy[0][0]
        begin()
        with pytest.raises(nag.ArgumentError, match="stream: expected the sequences that it began"):
            next(stream)
    assert list(generator.stream([5], tokens=3, temperature=0)) == greedy[1]


def test_full_caches_go_on(generator):
    tokens = generator.generate([1, 2, 3], tokens=60, temperature=0)[0]
    assert len(tokens) == 60
    assert len(generator.generate(list(range(40)), tokens=5)[0]) == 5


def test_text_prompts_and_checkpoints(tmp_path):
    model = nag.Model(layers=1, width=16, heads=1, seq=16, batch=1)
    weights = weights_of(model)
    weights.save(tmp_path / "weights.safetensors")
    generator = nag.Generator(model, tmp_path / "weights.safetensors")
    assert generator.generate("abc", tokens=4, seed=3) == nag.Generator(model, weights).generate(b"abc", tokens=4, seed=3)
    assert doctest.testmod(nag.generation).failed == 0


def started(generator):
    generator.start([[1]])
    return generator


@pytest.mark.parametrize("use, message", [
    (lambda g: g.generate([[1]] * 4), "prompts: expected 1 to 3, the program's batch, but got 4"),
    (lambda g: g.generate([[1], []]), "prompt 1: expected at least one token"),
    (lambda g: g.generate([[1, 61]]), "prompt 0: position 1: expected a token below the vocabulary of 61, but got 61"),
    (lambda g: g.generate([[1]], temperature=-1.0), "temperature: expected a finite value of at least 0, but got -1"),
    (lambda g: g.generate([[1]], top_p=0.0), r"top-p: expected a number in \(0, 1\], but got 0"),
    (lambda g: g.generate([[1]], top_k=-1), "top-k: expected at least 0, but got -1"),
    (lambda g: g.generate([[1]], tokens=-1), "tokens: expected at least 0, but got -1"),
    (lambda g: g.append([1]), "tokens: expected 3, but got 1"),
    (lambda g: started(g).logits(3), r"sequence: expected a number in \[0, 3\), but got 3"),
    (lambda g: g.generate([[1]], temperature="1"), "temperature: expected a number, but got '1'"),
    (lambda g: g.generate([[1]], seed=-1), "seed: expected at least 0, but got -1"),
    (lambda g: g.generate([[1]], stop=61), "stop: expected a token below the vocabulary of 61, but got 61"),
    (lambda g: g.generate([[1]], stop="."), "stop: expected an integer, but got '.'"),
    (lambda g: g.generate([[1.5]]), "prompt: expected an integer, but got 1.5"),
    (lambda g: g.generate(7), "prompts: expected text, tokens or several of them, but got 7"),
    (lambda g: g.generate([[2 ** 40]]), "prompt: expected tokens below the vocabulary of 61, but got 1099511627776"),
    (lambda g: g.start([[1], [61]]), "sequence 1: expected a token below the vocabulary of 61, but got 61"),
    (lambda g: g.start([[-1]]), "sequence 0: expected a token below the vocabulary of 61, but got -1"),
    (lambda g: g.start([[1]] * 4), "sequences: expected at most 3, the program's batch, but got 4"),
    (lambda g: started(g).append([61, -1, -1]), "sequence 0: expected a token below the vocabulary of 61, but got 61"),
    (lambda g: started(g).append([-2, -1, -1]), "sequence 0: expected a token below the vocabulary of 61, but got -2"),
    (lambda g: nag.Generator(nag.Model(**BASE), g.weights, threads=1).append([1]), "append: expected start before it"),
    (lambda g: g.generate([[1], 2]), "prompt: expected text or tokens, but got 2"),
    (lambda g: nag.Generator(nag.Model(**BASE), g.weights, threads=1).logits(), "expected start.. or append.. before"),
])
def test_bad_use(generator, use, message):
    with pytest.raises(nag.ArgumentError, match=message):
        use(generator)


def test_generators_of_closed_programs():
    model = nag.Model(**BASE)
    generator = nag.Generator(model, weights_of(model), threads=1)
    generator.program.close()
    for use in (lambda: generator.generate([1]), lambda: generator.start([[1]]), lambda: generator.append([1])):
        with pytest.raises(nag.ClosedError):
            use()


def test_foreign_weights():
    model, other = nag.Model(**BASE), nag.Model(**{**BASE, "width": 64})
    with pytest.raises(nag.ArgumentError, match="weights: parameter .* expected .*, but got"):
        nag.Generator(model, weights_of(other))
    with pytest.raises(nag.CompileError, match=r"expected 'prompt' in \[1, capacity = 24\], but got 25"):
        nag.Generator(model, weights_of(model), prompt=25)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    nagc("model", "--set", "layers=2", "--set", "width=32", "--set", "heads=2", "--set", "seq=32", "--set", "batch=2", "-o",
         folder / "model.mlir")
    nagc("train", folder / "model.mlir", "--data", __file__, "--steps", 30, "--val-interval", 0, "--checkpoint-dir",
         folder / "run")
    return lambda *options: nagc("generate", folder / "model.mlir", "--checkpoint", folder / "run", *options)


def nagc(*arguments):
    """The output, a character per byte: what a model says need not be text."""
    command = [str(x) for x in (harness.build_folder() / "bin" / "nagc", *arguments)]
    result = subprocess.run(command, capture_output=True)
    if result.returncode:
        raise harness.HarnessError(result.stderr.decode())
    return result.stdout.decode("latin-1")


def test_nagc_with_the_cache_and_without(trained):
    options = ("--prompt", "def test", "--tokens", 20)
    for choice in (("--temperature", 0), ("--temperature", 0.8, "--top-k", 9, "--seed", 4), ("--top-p", 0.7)):
        assert trained(*options, *choice) == trained(*options, *choice, "--recompute")


def test_nagc_continues_several_prompts_and_stops(trained):
    several = trained("--prompt", "abc", "--prompt", "x", "--tokens", 6, "--temperature", 0)
    alone = [trained("--prompt", p, "--tokens", 6, "--temperature", 0) for p in ("abc", "x")]
    assert several == "".join(alone)
    letters = trained("--prompt", "def ", "--tokens", 12, "--temperature", 0, "--top-k", 1)
    stop = next(c for c in letters[4:] if c.isascii() and c.isprintable())
    assert trained("--prompt", "def ", "--tokens", 12, "--temperature", 0, "--stop", stop) == (
        letters[:letters.index(stop, 4) + 1] + "\n")
    with pytest.raises(harness.HarnessError, match="^nagc generate: error: prompt 0: expected at least one token$"):
        trained("--prompt", "")
    with pytest.raises(harness.HarnessError, match="--stop: expected one token, but got 'ab'"):
        trained("--prompt", "abc", "--stop", "ab")
    with pytest.raises(harness.HarnessError, match=r"top-p: expected a number in \(0, 1\], but got 2"):
        trained("--prompt", "abc", "--top-p", 2)

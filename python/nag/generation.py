# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Continuing prompts token by token, with a cache of keys and values."""

from __future__ import annotations

import os
from typing import Any, Iterator, Sequence, Union

import numpy as np

from . import _arguments as arguments
from . import _core
from ._errors import ArgumentError
from .model import Model
from .program import Weights
from .routing import Routing

Prompt = Union[str, bytes, Sequence[int], "np.ndarray"]


def _sequences(prompts: Any) -> Any:
    """Several prompts, or the one."""
    if not isinstance(prompts, (str, bytes, Sequence, np.ndarray)):
        raise ArgumentError(f"prompts: expected text, tokens or several of them, but got {prompts!r}")
    one = isinstance(prompts, (str, bytes)) or (len(prompts) > 0 and isinstance(prompts[0], (int, np.integer)))
    return [prompts] if one else prompts


class Generator:
    """Continues up to `batch` sequences at once.

    >>> import nag
    >>> model = nag.Model(layers=1, width=32, heads=2, seq=32, batch=2)
    >>> weights = nag.Trainer(model, seed=1).weights
    >>> generator = nag.Generator(model, weights, batch=2)
    >>> [len(sequence) for sequence in generator.generate(["to", "be or"], tokens=5, temperature=0)]
    [5, 5]

    `weights` are a Weights object, which is used in place, or the path of a checkpoint. `prompt` is the number of tokens
    that are read at once at the start, `capacity` the positions that the cache holds (None: the model's sequence length);
    a sequence that fills it goes on from the last half of its tokens. A model with depth routing takes the checkpoint's
    `thresholds`, or these, one per sub-layer. With mod_kv="routed" the cache holds keys and values of executed tokens alone,
    in the room that `kv_budget` says (Model.compile); a sequence that fills it goes on as one that fills the positions.
    Other options are those of Model.compile.
    """

    def __init__(self, model: Model, weights: Weights | str | os.PathLike[str], *, batch: int = 1, prompt: int | None = None,
                 capacity: int | None = None, thresholds: Sequence[float] | None = None, kv_budget: float | None = None,
                 **target: Any):
        self.capacity = model.config.seq if capacity is None else capacity
        self.batch, self.prompt = batch, min(32, self.capacity) if prompt is None else prompt
        self.program = model.compile(["prefill", "decode"], generation=(batch, self.prompt, self.capacity),
                                     kv_budget=kv_budget, **target)
        self.vocabulary = int(self.program.config["vocab"])
        routing = Routing(self.program)
        if not isinstance(weights, Weights):
            path, weights = weights, Weights(self.program)
            weights.load(path)
            if thresholds is None:
                routing.load(path)
                thresholds = routing.values()
        self.weights = weights
        values = [arguments.real("thresholds", x) for x in thresholds] if thresholds is not None else []
        self._core = _core.Generator.create(self.program._core, weights._core, values)
        self._has_logits = False
        self._owner: object = None

    def tokens(self, prompt: Prompt) -> list[int]:
        """A prompt as tokens: text of a byte vocabulary, or tokens as they are."""
        if isinstance(prompt, (str, bytes)):
            if self.vocabulary > 256:
                raise ArgumentError(f"prompt: expected tokens for a vocabulary of {self.vocabulary}, but got text")
            return list(prompt.encode() if isinstance(prompt, str) else prompt)
        if not isinstance(prompt, (Sequence, np.ndarray)):
            raise ArgumentError(f"prompt: expected text or tokens, but got {prompt!r}")
        return [self._token("prompt", token) for token in prompt]

    def _token(self, name: str, value: Any) -> int:
        """A token of 32 bits; which of these the model has is checked where they are read."""
        token = arguments.whole(name, value)
        if not -2 ** 31 <= token < 2 ** 31:
            raise ArgumentError(f"{name}: expected tokens below the vocabulary of {self.vocabulary}, but got {token}")
        return token

    def stream(self, prompts: Prompt | Sequence[Prompt], *, tokens: int = 200, temperature: float = 1.0, top_k: int = 0,
               top_p: float = 1.0, seed: int = 0, stop: int | None = None) -> Iterator[list[tuple[int, int]]]:
        """Yields (sequence, token) pairs as they come, one list per step.

        Temperature 0 takes the likeliest token. `top_k` and `top_p` restrict the draw; the token `stop` ends a sequence.
        Sequence n draws with the seed plus n, as it would alone. The sequences are the generator's own: once it begins
        others (stream, generate or start), going on with these is an error.
        """
        if stop is not None and not 0 <= arguments.whole("stop", stop) < self.vocabulary:
            raise ArgumentError(f"stop: expected a token below the vocabulary of {self.vocabulary}, but got {stop}")
        self._core.begin([self.tokens(p) for p in _sequences(prompts)], arguments.whole("tokens", tokens, 0),
                         arguments.real("temperature", temperature), arguments.whole("top_k", top_k),
                         arguments.real("top_p", top_p), arguments.whole("seed", seed, 0), stop)
        self._has_logits = True
        owner = self._owner = object()
        step: Any = self._core.step
        while (new := step()) is not None:
            yield new
            if self._owner is not owner:
                raise ArgumentError("stream: expected the sequences that it began, but the generator has begun others")

    def generate(self, prompts: Prompt | Sequence[Prompt], **options: Any) -> list[list[int]]:
        """The new tokens of every sequence; options as in stream."""
        prompts = _sequences(prompts)
        results: list[list[int]] = [[] for _ in prompts]
        for new in self.stream(prompts, **options):
            for sequence, token in new:
                results[sequence].append(token)
        return results

    # Steps for callers that choose tokens by themselves.

    def start(self, sequences: Sequence[Sequence[int]]) -> None:
        """Reads the first tokens, at most `prompt` of each, and forgets what was before."""
        self._core.start([self.tokens(s) for s in sequences])
        self._has_logits, self._owner = True, None

    def append(self, tokens: Sequence[int]) -> None:
        """Reads one more token of every sequence; -1 where a sequence waits."""
        self._core.append([self._token("tokens", token) for token in tokens])
        self._has_logits, self._owner = True, None

    def logits(self, sequence: int = 0) -> np.ndarray:
        """The logits behind the last token read of a sequence."""
        if not self._has_logits:
            raise ArgumentError("logits: expected start() or append() before, but got neither")
        if not 0 <= arguments.whole("sequence", sequence) < self.batch:
            raise ArgumentError(f"sequence: expected a number in [0, {self.batch}), but got {sequence}")
        return np.array(self._core.logits(sequence))

    def cache_use(self) -> dict[str, float]:
        """Keys and values of the tokens read: `tokens`, the bytes that are held for them, in all (`held_bytes`) and
        `bytes_per_token`, and those that there is room for (`allocated_bytes`)."""
        return dict(self._core.cache_use())

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checkpoints of the public nag-nanochat layout."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from . import _core
from ._errors import ArgumentError, CheckpointError
from .config import ModelConfig
from .model import Model

_SAFETENSORS_TYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def import_checkpoint(path: str | os.PathLike[str], output: str | os.PathLike[str], *,
                      config: str | os.PathLike[str] | None = None, **settings: Any) -> Model:
    """Makes a model of a public checkpoint and writes its weights as safetensors to `output`.

    `path` is a safetensors file or, where torch is installed, a .pt file of a state dict; `config` a JSON file of the
    model's keys, ours or nag-nanochat's. Sizes are those of the tensors; the number of heads must be given, in the file or as
    a setting: import_checkpoint("model.pt", "weights.safetensors", heads=6).
    """
    texts = [(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in settings.items()]
    arguments = (os.fspath(config) if config else "", texts, os.fspath(output))
    if Path(path).suffix in (".pt", ".pth"):
        with tempfile.TemporaryDirectory() as folder:
            converted = Path(folder) / "weights.safetensors"
            _write_safetensors(converted, _read_torch(path))
            text = _core.import_checkpoint(str(converted), *arguments)
    else:
        text = _core.import_checkpoint(os.fspath(path), *arguments)
    return Model(ModelConfig.from_json(text))


def export_checkpoint(checkpoint: str | os.PathLike[str], output: str | os.PathLike[str], *,
                      config: str | os.PathLike[str] | None = None, dtype: str = "") -> None:
    """Writes a checkpoint's weights in the public layout: safetensors, or a .pt file where torch is installed.

    `config` also writes the model's keys by nag-nanochat's names; `dtype` ("f32", "bf16", "f16") changes the type.
    """
    target = os.fspath(config) if config else ""
    if Path(output).suffix not in (".pt", ".pth"):
        return _core.export_checkpoint(os.fspath(checkpoint), os.fspath(output), target, dtype)
    torch = _torch(output)
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "weights.safetensors"
        _core.export_checkpoint(os.fspath(checkpoint), str(converted), target, dtype)
        torch.save(_read_safetensors(converted, torch), os.fspath(output))
    return None


def _torch(path: str | os.PathLike[str]) -> Any:
    try:
        import torch
    except ImportError:
        raise CheckpointError(f"{os.fspath(path)}: expected torch to be installed for .pt files, but it is not") from None
    return torch


def _read_torch(path: str | os.PathLike[str]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Type, shape and bytes of a state dict's tensors; pickled code is not run."""
    torch = _torch(path)
    try:
        state = torch.load(os.fspath(path), map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{os.fspath(path)}: expected a state dict of tensors, but got "
                              f"{str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{os.fspath(path)}: expected a state dict of tensors, but got {type(state).__name__}")
    tensors = {}
    for name, tensor in state.items():
        kind = str(getattr(tensor, "dtype", type(tensor).__name__)).removeprefix("torch.")
        if kind not in _SAFETENSORS_TYPES:
            raise CheckpointError(f"{os.fspath(path)}: tensor '{name}': expected floats, but got {kind}")
        dense = tensor.detach().contiguous()
        tensors[name] = (_SAFETENSORS_TYPES[kind], tuple(dense.shape), dense.view(torch.uint8).numpy().tobytes()
                         if dense.dim() else dense.reshape(1).view(torch.uint8).numpy().tobytes())
    return tensors


def _write_safetensors(path: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    header, offset = {}, 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, _, data in tensors.values():
            file.write(data)


def _read_safetensors(path: Path, torch: Any) -> dict[str, Any]:
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            raw = torch.frombuffer(bytearray(data[begin:end]), dtype=types[entry["dtype"]])
            tensors[name] = raw.reshape(entry["shape"])
    return tensors


class Tokenizer:
    """A Hugging Face tokenizer.json, through the package `tokenizers`."""

    def __init__(self, path: str | os.PathLike[str]):
        try:
            import tokenizers
        except ImportError:
            raise CheckpointError(f"{os.fspath(path)}: expected the package tokenizers to be installed, but it is "
                                  "not") from None
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(os.fspath(path))
        except Exception as error:
            raise CheckpointError(f"{os.fspath(path)}: expected a tokenizer.json, but got: "
                                  f"{str(error).splitlines()[0]}") from None

    @property
    def vocabulary(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def token(self, text: str) -> int:
        """The number of one token, such as an end-of-text mark."""
        number = self._tokenizer.token_to_id(text)
        if number is None:
            raise ArgumentError(f"expected a token of the vocabulary, but got '{text}'")
        return int(number)

    def encode(self, text: str) -> np.ndarray:
        """Tokens as int32."""
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def decode(self, tokens: Any) -> str:
        return str(self._tokenizer.decode([int(t) for t in tokens], skip_special_tokens=False))

    def encode_file(self, text: str | os.PathLike[str], output: str | os.PathLike[str]) -> int:
        """Writes a file of tokens that `nagc train --data` reads (.bin); returns their number."""
        if Path(output).suffix != ".bin":
            raise ArgumentError(f"output: expected a name that ends in .bin, but got '{os.fspath(output)}'")
        tokens = self.encode(Path(text).read_text())
        tokens.astype("<u2" if self.vocabulary <= 65536 else "<u4").tofile(output)
        return len(tokens)

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The same small PyTorch transformer twice: with x + F(norm(x)), and with the NAG residual in its place.

    python examples/torch_swap.py TEXT [STEPS]
"""

import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy, rms_norm, scaled_dot_product_attention

import nag.torch as nt


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x):
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        return self.out(scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class Mlp(nn.Sequential):
    def __init__(self, width):
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class Baseline(nn.Module):
    def __init__(self, width=64, heads=2, layers=2):
        super().__init__()
        self.embed, self.head = nn.Embedding(256, width), nn.Linear(width, 256, bias=False)
        self.branches = nn.ModuleList([m for _ in range(layers) for m in (Attention(width, heads), Mlp(width))])

    def forward(self, tokens):
        x = self.embed(tokens)
        for branch in self.branches:
            x = x + branch(rms_norm(x, x.shape[-1:]))
        return self.head(rms_norm(x, x.shape[-1:]))


class Swapped(Baseline):
    """The residual replaced: the stream keeps direction and log-norm apart, branches see the direction alone."""

    def __init__(self, width=64, **sizes):
        super().__init__(width, **sizes)
        self.residuals = nn.ModuleList([nt.NagResidual(width, index=i + 1) for i in range(len(self.branches))])

    def forward(self, tokens):
        stream = nt.encode(self.embed(tokens))
        for branch, residual in zip(self.branches, self.residuals):
            stream, gate = residual(stream, branch(stream.direction))
        return nt.decode(stream, rms_norm(self.head.weight, self.head.weight.shape[-1:]))


def train(model, data, steps, seq=32, batch=8):
    torch.manual_seed(1)
    gates = [p for name, p in model.named_parameters() if "residuals" in name]
    rest = [p for name, p in model.named_parameters() if "residuals" not in name]
    optimizer = torch.optim.AdamW([{"params": rest, "lr": 3e-3}, {"params": gates, "lr": 3e-4}], weight_decay=0)
    for _ in range(steps):
        starts = torch.randint(0, len(data) - seq - 1, (batch,)).tolist()
        windows = torch.stack([data[s:s + seq + 1] for s in starts])
        loss = cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main(path, steps):
    with open(path, "rb") as file:
        data = torch.tensor(list(file.read()), dtype=torch.long)
    for kind in (Baseline, Swapped):
        torch.manual_seed(0)
        print(f"{kind.__name__}: loss {train(kind(), data, steps):.3f} after {steps} steps")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100)

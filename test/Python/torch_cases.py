# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nag.torch under a Python that has torch; test_torch.py runs this file with the interpreter of NAG_TORCH_PYTHON."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

import nag
import nag.torch as nt
from nag import _torch_ops as ops


def plain_update(r, s, f, w, b, p, beta, alpha, eps):
    """The paper's formulas in torch's own ops."""
    q = (torch.softmax(p, 0) * torch.sigmoid(r @ w.t() + b)).sum(-1).clamp_min(1e-6)
    g = alpha * q ** softplus(beta)
    c = f - f.mean(-1, keepdim=True)
    u = c - (c * r).sum(-1, keepdim=True) / (r * r).sum(-1, keepdim=True) * r
    v = u / (u.square().mean(-1, keepdim=True) + eps).sqrt()
    y = r + g.unsqueeze(-1) * v
    return y / (y.square().mean(-1, keepdim=True) + eps).sqrt(), s + torch.log1p(g * g) / 2, g


def inputs(shape=(2, 3), width=16, directions=4, dtype=torch.float64):
    torch.manual_seed(0)
    make = lambda *size: torch.randn(size, dtype=dtype)
    r = make(*shape, width)
    r = r / r.square().mean(-1, keepdim=True).sqrt()
    tensors = [r, make(*shape), make(*shape, width), make(directions, width) / 4, make(directions), make(directions),
               make(), make()]
    return [t.detach().requires_grad_() for t in tensors]


@pytest.mark.parametrize("dtype, limit", [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("shape", [(2, 3), (5,), ()])
def test_values_and_gradients(dtype, limit, shape):
    ours, theirs = inputs(shape, dtype=dtype), inputs(shape, dtype=dtype)
    (direction, log_norm), gate = nt.update(nt.Stream(*ours[:2]), *ours[2:])
    expected = plain_update(*theirs, nt.EPS)
    torch.manual_seed(1)
    weights = [torch.randn_like(x) for x in expected]
    for got, want in zip((direction, log_norm, gate), expected):
        torch.testing.assert_close(got, want, rtol=limit, atol=limit)
    sum((x * w).sum() for x, w in zip((direction, log_norm, gate), weights)).backward()
    sum((x * w).sum() for x, w in zip(expected, weights)).backward()
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad, rtol=10 * limit, atol=10 * limit)


def test_gradcheck_in_double_precision():
    assert torch.autograd.gradcheck(lambda *a: ops.update(*a, nt.EPS), inputs((3,), width=8))
    r, s, f = inputs((3,), width=8)[:3]
    gate = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: ops.rotate(*a, nt.EPS), (r, s, f, gate))


def test_ops_pass_torchs_own_check():
    tensors = inputs((3,), width=8)
    torch.library.opcheck(ops.update, (*tensors, nt.EPS))
    torch.library.opcheck(ops.modulate, (tensors[0], *tensors[3:], nt.EPS))
    assert torch.autograd.gradcheck(lambda *a: ops.modulate(*a, nt.EPS), (tensors[0], *tensors[3:]))


#===- Routing -------------------------------------------------------------===#

def routed(rate=0.0, threshold=None, width=8, dtype=torch.float64):
    torch.manual_seed(1)
    layer = nt.RoutedNagResidual(width, rate=rate, threshold=threshold, directions=4, dtype=dtype)
    for name, p in layer.named_parameters():
        nn.init.normal_(p, std=0.5)
    weight = torch.randn(width, width, dtype=dtype)
    return layer, lambda rows, positions: torch.tanh(rows @ weight)


def test_a_rate_of_zero_is_the_dense_update():
    layer, branch = routed()
    r, s = inputs((2, 5), width=8)[:2]
    stream, gate = layer(nt.Stream(r, s), branch)
    dense, same = nt.NagResidual.forward(layer, nt.Stream(r, s), branch(r, None))
    for a, b in zip([*stream, gate], [*dense, same]):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{"rate": 0.4}, {"threshold": 0.35}, {"threshold": 1e9}])
def test_tokens_that_skip_stay_bit_for_bit(options):
    layer, branch = routed(**options)
    r, s = inputs((3, 10), width=8)[:2]
    seen = []
    stream, gate = layer(nt.Stream(r, s), lambda rows, positions: (seen.append(positions), branch(rows, positions))[1])
    if "rate" in options:
        kept = gate.abs().topk(6).indices.sort(-1).values
        assert torch.equal(seen[0], kept)
        executed = torch.zeros_like(gate, dtype=torch.bool).scatter(-1, kept, True)
    else:
        executed = gate.abs() >= options["threshold"]
        assert not seen or torch.equal(seen[0], executed.nonzero())
    assert torch.equal(stream.direction[~executed], r[~executed]) and torch.equal(stream.log_norm[~executed], s[~executed])
    dense, _ = nt.NagResidual.forward(layer, nt.Stream(r, s), branch(r, None))
    torch.testing.assert_close(stream.direction[executed], dense.direction[executed], rtol=1e-12, atol=1e-12)
    assert not executed.all() and (executed.any() or options["threshold"] == 1e9)


@pytest.mark.parametrize("options", [{"rate": 0.4}, {"threshold": 0.35}])
def test_gradcheck_of_routed_updates(options):
    """Selection is not differentiated: no score lies near its limit here."""
    layer, branch = routed(**options)
    r, s = inputs((2, 5), width=8)[:2]
    assert torch.autograd.gradcheck(lambda r, s: tuple(layer(nt.Stream(r, s), branch)[0]), (r, s))


def gathered(layer, stream, branch):
    """The same with torch's gather and scatter around the rotation."""
    gate = nt.modulate(stream[0], layer.m_down.weight, layer.m_down.bias, layer.coef, layer.beta, layer.alpha * layer.scale)
    if layer.threshold is None:
        positions = nt.choose(gate, layer.rate)
        part = nt.take(stream, positions)
        turned = nt.rotate(part, branch(part.direction, positions), gate.gather(-1, positions))
        return nt.put(stream, turned, positions), gate
    where = (gate.abs() >= layer.threshold).nonzero()
    index = where.unbind(-1)
    rows = stream[0][index]
    turned = nt.rotate(nt.Stream(rows, stream[1][index]), branch(rows, where), gate[index])
    return nt.Stream(*(x.index_put(index, y) for x, y in zip(stream, turned))), gate


@pytest.mark.parametrize("options", [{"rate": 0.4}, {"threshold": 0.35}])
@pytest.mark.parametrize("shape", [(2, 5), (7,), (2, 3, 4)])
def test_routing_by_the_compiler_is_routing_by_torch(options, shape):
    results = []
    for route in (lambda layer, *rest: layer(*rest), gathered):
        layer, branch = routed(**options)
        r, s = inputs(shape, width=8)[:2]
        seen = []
        (direction, log_norm), gate = route(layer, nt.Stream(r, s), lambda rows, at: (seen.append((rows, at)), branch(rows, at))[1])
        (direction.square().sum() + (direction * log_norm.unsqueeze(-1)).sum() + gate.sum()).backward()
        assert seen[0][1].dtype == torch.int64 and not layer.beta.grad.eq(0)
        results.append([direction, log_norm, gate, *seen[0], r.grad, s.grad, *(p.grad for p in layer.parameters())])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_routed_ops_have_gradients_in_double_precision():
    r, s = inputs((2, 5), width=8)[:2]
    gate = torch.tensor([[0.3, -0.7, 1.1, 0.2, 0.9], [0.1, 0.4, -0.6, 0.8, 0.5]], dtype=torch.float64, requires_grad=True)
    full = ops.route(gate.detach(), 0.4)
    some = ops.route_above(gate.detach(), torch.tensor(0.45, dtype=torch.float64))
    assert full[0].tolist() == [1, 2, 4, 7, 8, 9] and some[0].tolist() == [1, 2, 4, 7, 8, 9, -1, -1, -1, -1]
    assert full[1].tolist() == some[1].tolist() == [0, 3, 6]
    for indices, offsets in (full, some):
        branch = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
        room = (0, 0, 0, len(indices) - 6)  # rows behind the last executed one mean nothing, nor do their gradients
        assert torch.autograd.gradcheck(lambda r: ops.take(r, indices, offsets, 0.0)[:6], (r,))
        assert torch.autograd.gradcheck(
            lambda r, s, f, g: ops.rotate_part(r, s, nn.functional.pad(f, room), g, indices, offsets, nt.EPS), (r, s, branch, gate))
    torch.library.opcheck(ops.rotate_part, (r, s, branch, gate, *full, nt.EPS))
    torch.library.opcheck(ops.take, (r, *full, 0.0))
    torch.library.opcheck(ops.route, (gate.detach(), 0.4))


def test_gates_that_are_no_numbers_show():
    layer, branch = routed(threshold=1e9)
    r, s = (x.detach() for x in inputs((1, 4), width=8)[:2])
    r[0, 2] = torch.nan
    stream, gate = layer(nt.Stream(r, s), branch)
    assert gate.isnan().tolist() == [[False, False, True, False]]
    assert stream.log_norm.isnan().tolist() == [[False, False, True, False]]


def test_bad_routing():
    assert nt.choose(torch.tensor([[1.0, -2.0, 1.0, 1.0, 0.5]]), 0.4).tolist() == [[0, 1, 2]]
    assert ops.route(torch.tensor([[1.0, -2.0, 1.0, 1.0, 0.5]]), 0.4)[0].tolist() == [0, 1, 2]  # of equals the earlier
    with pytest.raises(nag.ArgumentError, match=r"rate: expected a number in \[0, 1\), but got 1"):
        nt.choose(torch.ones(3), 1)
    with pytest.raises(nag.ArgumentError, match="rate: expected"):
        nt.RoutedNagResidual(8, rate=-0.1)
    r, s = (x.detach() for x in inputs((2, 5), width=8)[:2])
    for options, shape in (({"rate": 0.4}, r"\[2, 3, 8\]"), ({"threshold": 0.0}, r"\[10, 8\]")):
        layer, branch = routed(**options)
        with pytest.raises(nag.ArgumentError, match=rf"branch: expected {shape}, but got"):
            layer(nt.Stream(r, s), lambda rows, positions: rows[..., :4])
    with pytest.raises(nag.ArgumentError, match=r"direction: expected \[..., T, width\], but got \[8\]"):
        layer(nt.Stream(r[0, 0], s[0, 0]), branch)


def test_changing_numbers_of_rows_compile_few_programs():
    layer, branch = routed(threshold=0.0, dtype=torch.float32)
    ops.program.cache_clear()
    stream = nt.Stream(*(x.detach() for x in inputs((4, 16), width=8, dtype=torch.float32)[:2]))
    gates = layer(stream, branch)[1].detach().abs().flatten().sort().values
    for tau in gates[::6]:
        layer.threshold = float(tau)
        layer(stream, branch)
    assert ops.program.cache_info().currsize == 4  # gate, selection, rows, rotation


def test_a_capacity_compiles_as_one_graph():
    layer, branch = routed(rate=0.5, dtype=torch.float32)
    r, s = (x.detach() for x in inputs((2, 6), width=8, dtype=torch.float32)[:2])
    step = lambda r, s: layer(nt.Stream(r, s), branch)[0]
    for got, want in zip(torch.compile(step, backend="aot_eager", fullgraph=True)(r, s), step(r, s)):
        torch.testing.assert_close(got, want)


def test_zero_branches_leave_the_stream():
    r, s, *_ = inputs((4,), dtype=torch.float32)
    stream = nt.rotate(nt.Stream(r, s), torch.zeros_like(r), torch.ones(4))
    torch.testing.assert_close(stream.direction, r)
    assert torch.isfinite(stream.direction).all()


def test_non_contiguous_tensors():
    a = inputs((4, 4), dtype=torch.float32)
    got = ops.update(a[0].transpose(0, 1), a[1].transpose(0, 1), a[2].transpose(0, 1), *a[3:], nt.EPS)
    want = ops.update(*a, nt.EPS)
    torch.testing.assert_close(got[0], want[0].transpose(0, 1))


class Model(nn.Module):
    """An MLP block in the residual of the caller's choice."""

    def __init__(self, width=16, vocab=32):
        super().__init__()
        self.embed = nn.Embedding(vocab, width)
        self.up, self.down = nn.Linear(width, 64), nn.Linear(64, width)
        self.residual = nt.NagResidual(width, index=1, directions=8)
        self.head = nn.Parameter(torch.randn(vocab, width))

    def forward(self, tokens):
        stream = nt.encode(self.embed(tokens))
        stream, gate = self.residual(stream, self.down(torch.relu(self.up(stream.direction)).square()))
        return nt.decode(stream, self.head)


def test_a_model_trains_and_keeps_the_checkpoints_names():
    torch.manual_seed(0)
    model = Model()
    tokens = torch.randint(0, 32, (4, 8))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert set(model.residual.state_dict()) == {"m_down.weight", "m_down.bias", "coef", "beta", "alpha"}
    assert softplus(model.residual.beta).item() != 1.0 or losses[0] == losses[-1]


@pytest.mark.parametrize("backend", ["aot_eager"])
def test_compile_keeps_the_op_opaque(backend):
    torch.manual_seed(0)
    model, graphs = Model(), []
    tokens = torch.randint(0, 32, (4, 8))

    def look(graph, example):
        graphs.append(graph)
        return graph

    plain = model(tokens)
    torch.testing.assert_close(torch.compile(model, backend=look, fullgraph=True)(tokens), plain)
    assert "nag.update" in graphs[0].code
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    loss = compiled(tokens).square().mean()
    loss.backward()
    got = model.residual.alpha.grad.clone()
    model.zero_grad()
    plain.square().mean().backward()
    torch.testing.assert_close(got, model.residual.alpha.grad)


@pytest.mark.parametrize("change, message", [
    (lambda a: a.__setitem__(2, a[2][..., :8]), r"branch: expected \[4, 16\], but got \[4, 8\]"),
    (lambda a: a.__setitem__(1, a[1].double()), "log_norm: expected torch.float32 on cpu as the direction, but got torch.float64"),
    (lambda a: a.__setitem__(0, a[0].half()), "direction: expected float32 or float64 on cpu, but got torch.float16"),
    (lambda a: a.__setitem__(3, a[3][:, :4]), r"weight: expected \[directions, 16\], but got \[4, 4\]"),
    (lambda a: a.__setitem__(6, a[4]), r"beta: expected \[\], but got \[4\]"),
])
def test_bad_tensors(change, message):
    tensors = inputs((4,), dtype=torch.float32)
    change(tensors)
    with pytest.raises(nag.ArgumentError, match=message):
        ops.update(*tensors, nt.EPS)


@pytest.mark.parametrize("eps", [1e-5, 1e-6, 0.0, 1.0])
def test_any_eps(eps):
    """Python writes 1e-05 without the point that MLIR wants."""
    r, s, f, w, b, p, beta, alpha = inputs((4,), dtype=torch.float64)
    expected = plain_update(r, s, f, w, b, p, beta, alpha, eps)
    for got, want in zip(ops.update(r, s, f, w, b, p, beta, alpha, eps), expected):
        torch.testing.assert_close(got, want)
    assert nt.RoutedNagResidual(16, rate=1e-5)(nt.encode(torch.randn(2, 4, 16)), lambda rows, _: rows)[1].shape == (2, 4)


@pytest.mark.parametrize("eps", [-1.0, float("nan"), float("inf")])
def test_eps_that_is_none(eps):
    with pytest.raises(nag.ArgumentError, match="eps: expected a finite number of at least 0, but got"):
        ops.update(*inputs((4,), dtype=torch.float32), eps)


@pytest.mark.parametrize("options, message", [
    ({"directions": 0}, "directions: expected 1 or more, but got 0"), ({"index": 0}, "index: expected 1 or more, but got 0"),
    ({"rate": 1.0}, r"rate: expected a number in \[0, 1\), but got 1.0"),
    ({"threshold": float("nan")}, "threshold: expected a number, but got nan")])
def test_bad_modules(options, message):
    with pytest.raises(nag.ArgumentError, match=message):
        nt.RoutedNagResidual(16, **options)


def test_forward_mode_is_refused():
    """torch would take the tangents of ops without forward mode to be zero."""
    residual, x = nt.NagResidual(16), torch.randn(4, 16)
    routed = nt.RoutedNagResidual(16, rate=0.5)
    for turn in (lambda f: residual(nt.encode(x), f)[0].direction,
                 lambda f: routed(nt.encode(f), lambda rows, _: rows)[0].direction):
        with pytest.raises(nag.ArgumentError, match="expected no tangent, as there is no forward mode"):
            torch.func.jvp(turn, (x,), (torch.randn(4, 16),))
        with torch.autograd.forward_ad.dual_level(), pytest.raises(nag.ArgumentError, match="expected no tangent"):
            turn(torch.autograd.forward_ad.make_dual(x, x))


def arrays_for(function, seed=0):
    """Random inputs; rows of the direction have rms 1, and two sequences execute three and two tokens."""
    rng = np.random.default_rng(seed)
    places = {"indices": np.array([1, 2, 4, 5, 9] + [-1] * 5, np.int32), "offsets": np.array([0, 3, 5], np.int32)}
    arrays = {a.name: places[a.name][:a.shape[0]] if a.name in places else rng.normal(size=a.shape).astype(np.float32)
              for a in function.arguments if a.access == "read"}
    if "direction" in arrays:
        r = arrays["direction"]
        arrays["direction"] = r / np.sqrt((r * r).mean(-1, keepdims=True))
    return arrays


@pytest.mark.parametrize("op, executed", [("update", 0), ("rotate", 0), ("modulate", 0), ("take", 5), ("rotate_part", 5),
                                          ("rotate_part", 10), ("route", 6), ("route_above", 10)])
def test_generated_ptx_gives_the_cpus_numbers(op, executed):
    """The modules of these ops on the target cuda, here on the PTX machine, which finds no fault in them."""
    text = ops.text(ops.OPS[op], ops.Sizes(2, 5, executed, 24, 4), "f32", 0.4 if op == "route" else nt.EPS)
    derivative = "" if op.startswith("route") else "f"
    model = nag.Model.from_text(text)
    host = model.compile(differentiate=derivative, recompute="all")
    machine = model.compile(differentiate=derivative, recompute="all", target="cuda", device="vm")
    for name in ("f", "f.gradients") if derivative else ("f",):
        arrays = arrays_for(host.function(name))
        expected = host.call(name, **arrays)
        got = machine.call(name, **{k: machine.to_device(x) for k, x in arrays.items()})
        for key, value in expected.items():
            meant = slice(0, 5) if key == "grad:branch" and executed == 10 else slice(None)
            found = machine.to_host(got[key])
            np.testing.assert_allclose(found[meant] if found.ndim else found, value[meant] if value.ndim else value, rtol=1e-4,
                                       atol=1e-5, err_msg=key)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_cuda_tensors_on_a_stream_of_their_own():
    host, device = inputs((4,), dtype=torch.float32), [t.detach().cuda().requires_grad_() for t in inputs((4,), dtype=torch.float32)]
    with torch.cuda.stream(torch.cuda.Stream()):
        got = ops.update(*device, nt.EPS)
        sum(x.sum() for x in got).backward()
    torch.cuda.synchronize()
    want = ops.update(*host, nt.EPS)
    sum(x.sum() for x in want).backward()
    for a, b in zip([*got, *(t.grad for t in device)], [*want, *(t.grad for t in host)]):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-4, atol=1e-5)


def test_pt_files_round_trip(tmp_path):
    model = nag.Model(layers=2, width=16, heads=2, seq=8, vocab=32)
    model.compile(["loss"]).weights(seed=4).save(tmp_path / "ours.safetensors")
    nag.export_checkpoint(tmp_path / "ours.safetensors", tmp_path / "public.pt", config=tmp_path / "meta.json")
    state = torch.load(tmp_path / "public.pt", weights_only=True)
    assert state["transformer.h.1.attn.c_q.weight"].shape == (16, 16)
    back = nag.import_checkpoint(tmp_path / "public.pt", tmp_path / "back.safetensors", config=tmp_path / "meta.json", seq=8)
    torch.save({f"_orig_mod.{k}": v for k, v in state.items()}, tmp_path / "again.pt")
    nag.import_checkpoint(tmp_path / "again.pt", tmp_path / "again.safetensors", config=tmp_path / "meta.json", seq=8)
    assert back.config.layers == 2
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    nag.export_checkpoint(tmp_path / "back.safetensors", tmp_path / "twice.pt")
    twice = torch.load(tmp_path / "twice.pt", weights_only=True)
    assert twice.keys() == state.keys() and all(torch.equal(twice[k], state[k]) for k in state)


def test_dlpack_of_programs():
    model = nag.Model(layers=1, width=16, heads=1, seq=8, batch=1, vocab=16)
    program = model.compile(["logits"])
    weights = program.weights(seed=0)
    tokens = torch.zeros(1, 8, dtype=torch.int32)
    logits = torch.empty(1, 8, 16)
    program.call("logits", tokens=tokens, gate_scale=1.0, logits=logits, **weights.arguments("logits"))
    assert logits.abs().sum() > 0
    head = torch.from_dlpack(weights["lm_head.weight"])
    head.zero_()
    assert weights["lm_head.weight"].sum() == 0
    with pytest.raises(nag.ArgumentError, match="expected 1x8xi32, but got 1x8xi64"):
        program.call("logits", tokens=tokens.long(), gate_scale=1.0, **weights.arguments("logits"))

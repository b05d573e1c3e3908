# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One small module per op of the dialect, with inputs and the reference's results.

Limits in float32 are relative to the largest magnitude of the result, the inputs being exact in float32:
ROUNDING   for a fixed number of roundings per element;
SUM        where rows are summed;
EXP        where the argument of an exponential carries the rounding of a sum: its error grows with the argument;
SATURATED  where a sigmoid a near 1 leaves only the rounding of 1 - a;
CANCEL     where a branch lies along r: what is left after the projection is rounding noise of the branch, 6e-8 of it,
           against sqrt(eps) = 3.5e-4.
"""

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np

import nag_reference as ref

ROUNDING, SUM, EXP, SATURATED, CANCEL = 1e-6, 4e-6, 2e-5, 1e-3, 2e-3
DOUBLE = 1e-6
TYPES = {"f32": np.float32, "f64": np.float64}


@dataclass(eq=False)
class Case:
    """`compute` maps the inputs, by name, to the results, by name; `body` is the function's text without its frame."""

    name: str
    inputs: dict
    body: str
    compute: callable
    limit: float = SUM
    results: dict = field(init=False)

    def __post_init__(self):
        exact = {k: x if x.dtype == np.int32 else np.float64(np.float32(x)) for k, x in self.inputs.items()}
        self.inputs = exact
        self.results = {k: np.asarray(x, np.float64) for k, x in self.compute(**exact).items()}

    @property
    def op(self):
        return self.name.split(",")[0].split()[0]

    def text(self, element, function="f", without=()):
        """The function for an element type; `without` names results to leave out."""
        arguments = ", ".join(f'%{k}: {tensor(x.shape, element, x.dtype)} {{nag.name = "{k}"}}'
                              for k, x in self.inputs.items())
        kept = {k: tensor(x.shape, element) for k, x in self.results.items() if k not in without}
        types = kept.values()
        results = ", ".join(f'{t} {{nag.name = "{k}"}}' for k, t in kept.items())
        values = ", ".join(f"%out_{k}" for k in kept)
        return (f"func.func @{function}({arguments}) -> ({results}) {{\n{self.body.replace('ELEMENT', element)}\n"
                f"  return {values} : {', '.join(types)}\n}}\n")

    def arguments(self, element):
        return {k: x if x.dtype == np.int32 else x.astype(TYPES[element]) for k, x in self.inputs.items()}


def tensor(shape, element="ELEMENT", dtype=None):
    return f"tensor<{''.join(f'{n}x' for n in shape)}{'i32' if dtype == np.int32 else element}>"


def stream(shape):
    return f"!nag.stream<{''.join(f'{n}x' for n in shape)}ELEMENT>"


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def unit(x):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True))


def plain(name, op, inputs, compute, attributes="", limit=SUM, operands=None):
    """A case of one op whose operands are the inputs in order and whose text ends in a functional type."""
    results = compute(**inputs)
    operands = operands or ", ".join(f"%{k}" for k in inputs)
    left = ", ".join(f"%out_{k}" for k in results)
    signature = (f"({', '.join(tensor(x.shape, dtype=x.dtype) for x in inputs.values())}) -> "
                 f"({', '.join(tensor(np.shape(x)) for x in results.values())})")
    return Case(name, inputs, f"  {left} = nag.{op} {operands} {attributes} : {signature}", compute, limit)


def named(function, *results, **form):
    """`function`, taking operands by position, as a function from names to names."""

    def compute(**inputs):
        values = function(*inputs.values(), **form)
        return dict(zip(results, values if isinstance(values, tuple) else (values,)))

    return compute


ROWS = {"": (2, 3, 16), ", T=1": (3, 1, 16), ", one token": (1, 1, 16), ", odd d": (2, 3, 13), ", wide": (2, 9, 200)}


def activation_cases(shape, edge, size=1.0):
    x, dy, up = size * normal(*shape), normal(*shape, seed=1), normal(*shape, seed=2)
    gelu_tanh, gelu_tanh_vjp = (partial(f, approximate_tanh=True) for f in (ref.gelu, ref.gelu_vjp))
    one, two = dict(x=x), dict(x=x, dy=dy)
    return [
        plain("relu2" + edge, "relu2", one, named(ref.relu2, "y"), limit=ROUNDING),
        plain("relu2_vjp" + edge, "relu2_vjp", two, named(ref.relu2_vjp, "dx"), limit=ROUNDING),
        plain("gelu" + edge, "gelu", one, named(ref.gelu, "y"), limit=ROUNDING),
        plain("gelu_vjp" + edge, "gelu_vjp", two, named(ref.gelu_vjp, "dx"), limit=ROUNDING),
        plain("gelu tanh" + edge, "gelu", one, named(gelu_tanh, "y"), "{approximate_tanh}", ROUNDING),
        plain("gelu_vjp tanh" + edge, "gelu_vjp", two, named(gelu_tanh_vjp, "dx"), "{approximate_tanh}", ROUNDING),
        plain("swiglu" + edge, "swiglu", dict(x=x, up=up), named(ref.swiglu, "y"), limit=ROUNDING),
        plain("swiglu_vjp" + edge, "swiglu_vjp", dict(x=x, up=up, dy=dy), named(ref.swiglu_vjp, "dx", "dup"),
              limit=ROUNDING),
        plain("residual_add" + edge, "residual_add", dict(x=x, f=up), lambda x, f: {"y": x + f}, limit=ROUNDING),
        plain("accumulate" + edge, "accumulate", dict(x=x, f=up), lambda x, f: {"y": x + f}, limit=ROUNDING),
    ]


def norm_cases(shape, edge, groups=1):
    d = shape[-1]
    x, dy, weight = normal(*shape), normal(*shape, seed=1), normal(d // groups, seed=2)
    attributes = f"{{groups = {groups}, factor = 1.2}}"
    form = dict(groups=groups, factor=1.2)
    return [
        plain("rms_norm" + edge, "rms_norm", dict(x=x), named(ref.rms_norm, "y", **form), attributes),
        plain("rms_norm gain" + edge, "rms_norm", dict(x=x, w=weight), named(ref.rms_norm, "y", **form), attributes,
              operands="%x gain %w"),
        plain("rms_norm_vjp" + edge, "rms_norm_vjp", dict(x=x, dy=dy), named(ref.rms_norm_vjp, "dx", **form),
              attributes),
        plain("rms_norm_vjp of result" + edge, "rms_norm_vjp",
              dict(y=ref.rms_norm(x, **form), dy=dy, inverse=ref.inverse_rms(x, groups)), named(ref.rms_norm_vjp, "dx", **form),
              attributes),
        plain("inverse_rms" + edge, "inverse_rms", dict(x=x), named(ref.inverse_rms, "y", groups=groups),
              f"{{groups = {groups}}}"),
        plain("gain" + edge, "gain", dict(x=x, w=weight), named(ref.gain, "y"), limit=ROUNDING),
        plain("gain_vjp" + edge, "gain_vjp", dict(x=x, w=weight, dy=dy), named(ref.gain_vjp, "dx", "dw")),
    ]


def linear_cases(shape, edge, out=24):
    d = shape[-1]
    x, w, dy = normal(*shape), normal(out, d, seed=1), normal(*shape[:-1], out, seed=2)
    return [
        plain("linear" + edge, "linear", dict(x=x, w=w), named(ref.linear, "y")),
        plain("linear transposed" + edge, "linear", dict(dy=dy, w=w), named(ref.linear, "dx", transpose_weight=True),
              "{transpose_weight}"),
        plain("weight_grad" + edge, "weight_grad", dict(dy=dy, x=x), named(ref.weight_grad, "dw")),
    ]


def embedding_cases(shape, edge, rows=7):
    tokens = np.random.default_rng(5).integers(0, rows, shape[:-1]).astype(np.int32)
    dy = normal(*shape)
    return [
        plain("embedding" + edge, "embedding", dict(tokens=tokens, table=normal(rows, shape[-1], seed=1)),
              named(ref.embedding, "y"), limit=ROUNDING),
        plain("embedding_vjp" + edge, "embedding_vjp", dict(tokens=tokens, dy=dy),
              named(ref.embedding_vjp, "dtable", rows=rows), f"{{rows = {rows}}}"),
    ]


ATTENTION = {"": (2, 9, 4, 4, 16, None), ", grouped": (2, 9, 4, 2, 8, None), ", window 0": (1, 9, 2, 2, 8, 0),
             ", window 3": (2, 40, 2, 1, 8, 3), ", window full": (1, 9, 2, 2, 8, 9), ", T=1": (3, 1, 2, 2, 8, None),
             ", one token": (1, 1, 1, 1, 8, 0), ", long": (1, 150, 2, 1, 32, None), ", odd head": (1, 9, 3, 3, 5, None)}


def attention_cases(form, edge):
    b, t, heads, kv_heads, hd, window = form
    q, do = normal(b, t, heads * hd), normal(b, t, heads * hd, seed=3)
    k, v = normal(b, t, kv_heads * hd, seed=1), normal(b, t, kv_heads * hd, seed=2)
    keywords = dict(heads=heads, kv_heads=kv_heads, window=window)
    attributes = f"{{heads = {heads}, kv_heads = {kv_heads}{'' if window is None else f', window = {window}'}}}"
    o, lse = ref.attention(q, k, v, **keywords)

    def gradients(q, k, v, o, lse, do):
        return dict(zip(("dq", "dk", "dv"), ref.attention_vjp(q, k, v, do, **keywords)))

    return [plain("attention" + edge, "attention", dict(q=q, k=k, v=v), named(ref.attention, "o", "lse", **keywords),
                  attributes, EXP),
            plain("attention_vjp" + edge, "attention_vjp", dict(q=q, k=k, v=v, o=o, lse=lse, do=do), gradients,
                  attributes, EXP)]


def cached_attention(q, k, v, kc, vc, p, heads, kv_heads, window):
    """The last position of causal attention over what the ring holds, in order, and the token itself."""
    rows, results = kc.shape[1], []
    for b, position in enumerate(p[0]):
        seen = min(position, rows, rows if window is None else window)
        order = [j % rows for j in range(position - seen, position)]
        keys, values = (np.concatenate([cache[b, order], own[0, b:b + 1]])[None] for cache, own in ((kc, k), (vc, v)))
        queries = np.concatenate([np.zeros((seen, q.shape[2])), q[0, b:b + 1]])[None]
        results.append(ref.attention(queries, keys, values, heads=heads, kv_heads=kv_heads, window=None)[0][0, -1])
    return np.array(results)[None]


def cached_attention_case(edge, rows, positions, heads=4, kv_heads=2, hd=8, window=None):
    b, width = len(positions), kv_heads * hd
    inputs = dict(q=normal(1, b, heads * hd), k=normal(1, b, width, seed=1), v=normal(1, b, width, seed=2),
                  kc=normal(b, rows, width, seed=3), vc=normal(b, rows, width, seed=4),
                  p=np.array([positions], np.int32))
    for name in ("kc", "vc"):  # rows that were never written are not read
        for sequence, position in enumerate(positions):
            inputs[name][sequence, position:] = np.nan
    attributes = f"{{heads = {heads}, kv_heads = {kv_heads}{'' if window is None else f', window = {window}'}}}"
    return plain("cached_attention" + edge, "cached_attention", inputs,
                 named(cached_attention, "o", heads=heads, kv_heads=kv_heads, window=window), attributes, EXP)


def shared_attention_case(edge, capacity, budget, positions, heads=4, kv_heads=2, hd=8, window=None, executed=None):
    """Caches in whose rows `rows` says where positions are; with `executed`, of these sequences alone."""
    b, width, tokens = len(positions), kv_heads * hd, range(len(positions)) if executed is None else executed
    own = (1, b) if executed is None else (len(tokens),)
    inputs = dict(q=normal(*own, heads * hd), k=normal(*own, width, seed=1), v=normal(*own, width, seed=2),
                  kc=np.full((b, budget, width), np.nan), vc=np.full((b, budget, width), np.nan), p=np.array([positions], np.int32))
    if executed is not None:
        inputs.update(indices=np.array(executed, np.int32), offsets=np.array([0, len(executed)], np.int32))
    inputs["rows"] = np.stack([np.random.default_rng(i).permutation(budget)[:capacity] for i in range(b)]).astype(np.int32)
    for sequence, position in enumerate(positions):
        written = inputs["rows"][sequence, :min(position, capacity)]
        for seed, name in enumerate(("kc", "vc")):
            inputs[name][sequence, written] = normal(len(written), width, seed=3 + seed + 2 * sequence)

    def compute(q, k, v, kc, vc, p, rows, **route):
        rings = [np.stack([cache[i, rows[i]] for i in tokens]) for cache in (kc, vc)]
        q, k, v = (x.reshape(1, len(tokens), -1) for x in (q, k, v))
        result = cached_attention(q, k, v, *rings, p[:, list(tokens)], heads, kv_heads, window)
        return {"o": result.reshape(*own, heads * hd)}

    attributes = f"{{heads = {heads}, kv_heads = {kv_heads}{'' if window is None else f', window = {window}'}}}"
    route = "" if executed is None else " route(%indices, %offsets)"
    return plain("cached_attention shared" + edge, "cached_attention", inputs, compute, attributes, EXP,
                 f"%q, %k, %v, %kc, %vc, %p{route} rows(%rows)")


def rotary_cases(shape, edge, heads=2):
    b, t, d = shape[0], shape[1], 16 * heads
    cos, sin = ref.rotary_table(t, 16)
    inputs = dict(x=normal(b, t, d), cos=cos, sin=sin)
    results = f"{tensor((t, 8))}, {tensor((t, 8))}"
    body = f"  %out_cos, %out_sin = nag.rotary_table {{base = 1.0e5, first = 3}} : {results}"
    table = Case("rotary_table" + edge, {}, body,
                 lambda: dict(zip(("cos", "sin"), ref.rotary_table(t, 16, first=3))), ROUNDING)
    return [
        plain("rotary" + edge, "rotary", inputs, named(ref.rotary, "y", heads=heads), f"{{heads = {heads}}}", ROUNDING),
        plain("rotary inverse" + edge, "rotary", inputs, named(ref.rotary, "y", heads=heads, inverse=True),
              f"{{heads = {heads}, inverse}}", ROUNDING),
        table,
    ]


def gate_inputs(shape, size=6, floor=False, spread=1.0):
    return dict(z=spread * normal(*shape[:-1], size), b=np.full(size, -40.0) if floor else normal(size, seed=1),
                p=normal(size, seed=2), beta=np.array(0.4), alpha=np.array(0.8))


def gate_cases(shape, edge, limit=EXP, **form):
    inputs, dg, scale = gate_inputs(shape, **form), normal(*shape[:-1], seed=3), np.array(0.7)
    direction, w = unit(normal(*shape, seed=4)), normal(6, shape[-1], seed=5)
    modulate = dict(r=direction, w=w, **{k: inputs[k] for k in ("b", "p", "beta", "alpha")}, scale=scale)
    both = dict(**inputs, dg=dg, scale=scale)
    names = ("dz", "db", "dp", "dbeta", "dalpha")
    return [
        plain("gate" + edge, "gate", inputs, named(ref.gate, "g"), limit=limit),
        plain("gate_vjp" + edge, "gate_vjp", dict(**inputs, dg=dg), named(ref.gate_vjp, *names), limit=limit),
        plain("gate_vjp scaled" + edge, "gate_vjp", both, named(ref.gate_vjp, *names),
              operands="%z, %b, %p, %beta, %alpha, %dg scale %scale", limit=limit),
        plain("modulate" + edge, "modulate", modulate, named(ref.modulate, "g"),
              operands="%r gate(%w, %b, %p, %beta, %alpha) scale %scale", limit=limit),
    ]


def rotate_inputs(shape, branch):
    r, f = normal(*shape), normal(*shape, seed=1)
    if branch == "parallel":  # of zero mean, so that centring the branch leaves it along r
        r = r - r.mean(axis=-1, keepdims=True)
    r = unit(r)
    f = {"zero": np.zeros(shape), "parallel": 0.75 * r, "": f, "large": 1e4 * f, "near": 0.5 * r + 1e-2 * f}[branch]
    return dict(r=r, s=normal(*shape[:-1], seed=2), f=f, g=normal(*shape[:-1], seed=3))


def rotate_cases(shape, edge, branch=""):
    inputs, limit = rotate_inputs(shape, branch), {"parallel": CANCEL, "near": 1e-4}.get(branch, SUM)
    kind = stream(shape)
    row, lane = tensor(shape), tensor(shape[:-1])
    body = (f"  %x = nag.make_stream %r, %s : {kind}\n"
            f"  %y = nag.rotate %x, %f, %g : ({kind}, {row}, {lane}) -> {kind}\n"
            f"  %out_r_new = nag.direction %y : {kind}\n  %out_s_new = nag.log_norm %y : {kind}")
    forward = Case("rotate" + edge, inputs, body, named(ref.rotate, "r_new", "s_new"), limit)
    gradient = {k: inputs[k] for k in ("r", "f", "g")}
    gradient |= dict(dr_new=normal(*shape, seed=4), ds_new=normal(*shape[:-1], seed=5))
    return [forward, plain("rotate_vjp" + edge, "rotate_vjp", gradient, named(ref.rotate_vjp, "dr", "df", "dg"),
                           limit=limit)]


def stream_cases(shape, edge):
    kind, d = stream(shape), shape[-1]
    row, lane = tensor(shape), tensor(shape[:-1])
    x, s, w = normal(*shape), normal(*shape[:-1], seed=1), normal(10, d, seed=2)
    products, dy = normal(*shape[:-1], 10, seed=3), normal(*shape[:-1], 10, seed=4)
    encode = (f"  %x = nag.encode %e, %gain : ({row}, {tensor(())}) -> {kind}\n"
              f"  %out_r = nag.direction %x : {kind}\n  %out_s = nag.log_norm %x : {kind}")
    decode = (f"  %x = nag.make_stream %r, %s : {kind}\n"
              f"  %out_logits = nag.decode %x, %w : ({kind}, {tensor((10, d))}) -> {tensor((*shape[:-1], 10))}")
    return [
        Case("encode" + edge, dict(e=x, gain=np.array(0.25)), encode, named(ref.encode, "r", "s")),
        plain("encode_vjp" + edge, "encode_vjp", dict(e=x, dr=normal(*shape, seed=5), ds=s),
              named(ref.encode_vjp, "de", "dgain")),
        Case("decode" + edge, dict(r=unit(x), s=s, w=w), decode, named(ref.decode, "logits"), EXP),
        plain("temper" + edge, "temper", dict(x=products, s=s), named(ref.temper, "y", factor=0.25), "{factor = 0.25}",
              EXP),
        plain("temper_vjp" + edge, "temper_vjp", dict(x=products, s=s, dy=dy),
              named(ref.temper_vjp, "dx", "ds", factor=0.25), "{factor = 0.25}", EXP),
    ]


def loss_cases(vocab, edge, ignored=(1, 4)):
    shape, width = (2, 3), 18
    targets = np.random.default_rng(1).integers(0, vocab, 6).astype(np.int32)
    targets[list(ignored)] = -1
    targets = targets.reshape(shape)
    logits, dlosses = 3.0 * normal(*shape, width), normal(*shape, seed=1)
    logits[..., vocab:] = 50.0  # padding that would swamp the sum if it counted
    _, lse = ref.token_loss(logits, targets, vocab)
    count = np.array(float(np.sum(targets >= 0)))
    attributes = f"{{vocab = {vocab}}}"

    def token_gradient(logits, targets, lse, dlosses):
        return {"dlogits": ref.token_loss_vjp(logits, targets, dlosses, vocab)}

    return [
        plain("cross_entropy" + edge, "cross_entropy", dict(logits=logits, targets=targets),
              named(ref.cross_entropy, "loss", vocab=vocab), attributes),
        plain("token_loss" + edge, "token_loss", dict(logits=logits, targets=targets),
              named(ref.token_loss, "losses", "lse", vocab=vocab), attributes),
        plain("token_loss_vjp" + edge, "token_loss_vjp", dict(logits=logits, targets=targets, lse=lse, dlosses=dlosses),
              token_gradient, attributes, EXP),
        plain("masked_mean" + edge, "masked_mean", dict(values=dlosses, targets=targets),
              named(ref.masked_mean, "mean", "count")),
        plain("masked_mean_vjp" + edge, "masked_mean_vjp", dict(targets=targets, count=count, dmean=np.array(1.5)),
              lambda targets, count, dmean: {"dvalues": ref.masked_mean_vjp(targets, dmean)}, limit=ROUNDING),
    ]


def head_cases(shape, vocab, edge):
    """The product, the temperature and the loss as one; `vocab` of the 18 columns count."""
    targets = np.random.default_rng(2).integers(0, vocab, shape[:-1]).astype(np.int32)
    targets.reshape(-1)[::4] = -1
    x, w, s = normal(*shape), normal(18, shape[-1], seed=1), normal(*shape[:-1], seed=2)
    grad = normal(*shape[:-1], seed=3)
    form = dict(vocab=vocab, factor=0.25)
    attributes = f"{{vocab = {vocab}, factor = 0.25}}"

    def plain_head(x, w, targets):
        return {"losses": ref.head_loss(x, w, targets, vocab=vocab)}

    return [
        plain("head_loss" + edge, "head_loss", dict(x=x, w=w, targets=targets, s=s),
              named(ref.head_loss, "losses", **form), attributes, EXP),
        plain("head_loss plain" + edge, "head_loss", dict(x=x, w=w, targets=targets), plain_head,
              f"{{vocab = {vocab}}}", EXP),
        plain("head_loss_vjp" + edge, "head_loss_vjp", dict(x=x, w=w, targets=targets, grad=grad, s=s),
              named(ref.head_loss_vjp, "losses", "dx", "dw", "ds", **form), attributes, EXP),
        plain("head_loss_vjp plain" + edge, "head_loss_vjp", dict(x=x, w=w, targets=targets, grad=grad),
              named(ref.head_loss_vjp, "losses", "dx", "dw", vocab=vocab), f"{{vocab = {vocab}}}", EXP),
        plain("target_count" + edge, "target_count", dict(targets=targets),
              lambda targets: {"count": np.array(float(np.sum(targets >= 0)))}, "{type = ELEMENT}"),
    ]


def gram_cases(shape, edge):
    a, b = normal(*shape), normal(*shape, seed=1)
    s, t, u = (normal(*shape[:-1], seed=seed) for seed in (2, 3, 4))
    row, lane = tensor(shape), tensor(shape[:-1])
    gram = (f"  %out_aa, %out_ab, %out_sum_b = nag.row_gram %a, %b [(0, 0), (0, 1), (1)] : ({row}, {row}) -> "
            f"({lane}, {lane}, {lane})")
    combine = (f"  %out_y = nag.row_combine %a, %b by %s, %t plus %u : ({row}, {row}, {lane}, {lane}, {lane}) -> {row}")
    scalars = (f"  %out_q, %out_p = nag.row_scalars %s, %t : ({lane}, {lane}) -> ({lane}, {lane}) {{\n"
               "  ^bb0(%i: ELEMENT, %j: ELEMENT):\n    %k = arith.mulf %i, %j : ELEMENT\n"
               "    %l = arith.subf %k, %i : ELEMENT\n    nag.yield %k, %l : ELEMENT, ELEMENT\n  }")
    return [
        Case("row_gram" + edge, dict(a=a, b=b), gram,
             lambda a, b: {"aa": np.sum(a * a, -1), "ab": np.sum(a * b, -1), "sum_b": np.sum(b, -1)}),
        Case("row_combine" + edge, dict(a=a, b=b, s=s, t=t, u=u), combine,
             lambda a, b, s, t, u: {"y": s[..., None] * a + t[..., None] * b + u[..., None]}, ROUNDING),
        Case("row_scalars" + edge, dict(s=s, t=t), scalars, lambda s, t: {"q": s * t, "p": s * t - s}, ROUNDING),
    ]


GROUP = dict(lr_scale=0.5, weight_decay=0.125, beta1=0.9, beta2=0.95, eps=1e-8)


def adamw_case(shape, edge, step, results=("p_new", "m_new", "v_new")):
    inputs = dict(p=normal(*shape), m=normal(*shape, seed=1), v=normal(*shape, seed=2) ** 2, g=normal(*shape, seed=3),
                  lr=np.array(0.015625), step=np.array(float(step)), factor=np.array(0.75))
    settings = ", ".join(f"{k} = {v:.9e}" for k, v in GROUP.items())
    return plain("adamw" + edge, "adamw", inputs, named(ref.adamw, *results, **GROUP), f"group <{settings}>", EXP)


def optimizer_cases():
    a, b = normal(3, 7), normal(5, seed=1)
    w = normal(4, 13)
    w[2] = 3.0
    clip = [plain(f"clip_factor, {edge}", "clip_factor",
                  dict(norm=np.array(4.0), limit=np.array(limit), scale=np.array(0.25)),
                  named(ref.clip_factor, "factor", "scaled"), limit=ROUNDING)
            for edge, limit in (("clipped", 0.5), ("within", 8.0), ("no limit", 0.0))]
    constrain = [plain(f"constrain {kind}", "constrain", dict(w=w), named(ref.constrain, "w_new", constraint=kind),
                       kind) for kind in ("zero_mean", "zero_mean_unit_rms")]
    return clip + constrain + [
        adamw_case((3, 13), "", 3), adamw_case((3, 13), ", first step", 1), adamw_case((), ", scalar", 2),
        adamw_case((3, 13), ", in place", 7, ("p", "m", "v")),
        plain("squared_norm", "squared_norm", dict(a=a), named(ref.squared_norm, "n")),
        plain("global_norm", "global_norm", dict(a=a, b=b), lambda a, b: {"n": ref.global_norm([a, b])}),
        plain("softmax_vjp", "softmax_vjp", dict(p=normal(6), dy=normal(6, seed=1)), named(ref.softmax_vjp, "dp"),
              limit=EXP),
    ]


def all_cases():
    cases = []
    for edge, shape in ROWS.items():
        for family in (activation_cases, norm_cases, linear_cases, embedding_cases, rotary_cases, gate_cases,
                       rotate_cases, stream_cases, gram_cases):
            cases += family(shape, edge)
    cases += norm_cases((2, 3, 16), ", groups", groups=4) + gate_cases((2, 3, 16), ", floor", floor=True)
    for branch in ("zero", "parallel", "near", "large"):
        cases += rotate_cases((2, 3, 32), f", {branch} branch", branch)
    for edge, form in ATTENTION.items():
        cases += attention_cases(form, edge)
    cases += [cached_attention_case("", 12, (3, 7, 0)), cached_attention_case(", full ring", 6, (6, 13, 29)),
              cached_attention_case(", window", 12, (2, 11, 40), window=5), cached_attention_case(", alone", 8, (4,)),
              cached_attention_case(", window 0", 8, (4, 9), window=0),
              cached_attention_case(", long", 70, (69, 33), heads=3, kv_heads=1, hd=10),
              shared_attention_case("", 9, 30, (9, 4, 0)), shared_attention_case(", window", 6, 11, (13, 5), window=3),
              shared_attention_case(", executed", 9, 30, (9, 4, 0, 7), executed=(0, 2, 3))]
    cases += loss_cases(18, "") + loss_cases(11, ", padded vocabulary") + loss_cases(1, ", one word")
    cases += loss_cases(18, ", nothing counted", range(6))
    cases += head_cases((2, 8, 16), 18, "") + head_cases((3, 5, 7), 11, ", padded vocabulary")
    # Where a careless exponential overflows.
    cases += activation_cases((2, 3, 16), ", large values", 60.0)
    cases += gate_cases((2, 3, 16), ", saturated", limit=SATURATED, spread=200.0)
    return cases + optimizer_cases()

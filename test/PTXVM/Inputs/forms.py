# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Instruction forms of arithmetic.py: the PTX, what operands it takes, and what it must give (PTX ISA 9.0, 9.7)."""

import math

import softfloat as sf
from softfloat import BF16, F16, F32, F64

FLOATS = {"f16": F16, "bf16": BF16, "f32": F32, "f64": F64}
MODES = ["rn", "rz", "rm", "rp"]


def float_specials(fmt):
    smallest_normal, one = 1 << (fmt.p - 1), fmt.one
    positive = [0, 1, smallest_normal - 1, smallest_normal, smallest_normal + 1, one - 1, one, one + 1,
                one + (1 << (fmt.p - 1)), one + (3 << (fmt.p - 2)), one - (1 << (fmt.p - 1)), fmt.inf - 1, fmt.inf,
                fmt.nan, fmt.inf + 1, one + (fmt.p << (fmt.p - 1))]
    return positive + [bits | fmt.sign for bits in positive]


def int_specials(width):
    top = 1 << (width - 1)
    return sorted({0, 1, 2, 3, 7, width - 1, width, width + 1, 255, top - 1, top, top + 1, 2 * top - 1, 2 * top - 2,
                   0x5555555555555555 % (2 * top), 0x123456789abcdef0 % (2 * top)} & set(range(2 * top))
                  if width <= 16 else {v % (2 * top) for v in (
                      0, 1, 2, 3, 7, width - 1, width, width + 1, 255, 256, 0xffff, top - 1, top, top + 1, -1, -2,
                      -128, -129, 0x5555555555555555, 0x123456789abcdef0)})


def specials(kind):
    if kind in FLOATS:
        return float_specials(FLOATS[kind])
    if kind.endswith("x2"):
        half = specials(kind[:-2])
        return [a | b << 16 for a, b in zip(half, half[5:] + half[:5])] + [a | a << 16 for a in half]
    return int_specials(int(kind[1:]))


def random_value(kind, rng):
    if kind.endswith("x2"):
        return random_value(kind[:-2], rng) | random_value(kind[:-2], rng) << 16
    if kind in FLOATS and rng.integers(3):
        fmt = FLOATS[kind]  # near one, where rounding and cancellation happen
        return fmt.one + int(rng.integers(-3, 4)) * (1 << (fmt.p - 1)) ^ int(rng.integers(1 << (fmt.p - 1))) \
            ^ (fmt.sign if rng.integers(2) else 0)
    width = size_of(kind) * 8
    bits = int.from_bytes(rng.bytes(8), "little") % (1 << width)
    return bits if kind in FLOATS or rng.integers(2) else bits >> int(rng.integers(width))


def size_of(kind):
    return {"f16": 2, "bf16": 2}.get(kind) or (4 if kind.endswith("x2") else int(kind[1:]) // 8)


class Form:
    """`reference` maps operands (bit patterns) to the result's bits; `skip` names operands without a defined result."""

    def __init__(self, body, kinds, out, reference, skip=None):
        self.body, self.kinds, self.reference, self.skip = body, kinds.split(), reference, skip
        self.inputs = [size_of(kind) for kind in self.kinds]
        self.output = size_of(out)
        self.floats = FLOATS.get(out)

    def operands(self, rng):
        lists = [specials(kind) for kind in self.kinds]
        if len(lists) == 1:
            rows = [(v,) for v in lists[0]]
        elif len(lists) == 2:
            rows = [(a, b) for a in lists[0] for b in lists[1]]
            rows = [rows[k] for k in rng.permutation(len(rows))[:300]]
        else:
            rows = [tuple(v[int(rng.integers(len(v)))] for v in lists) for _ in range(300)]
        rows += [tuple(random_value(kind, rng) for kind in self.kinds) for _ in range(212)]
        return [row for row in rows if not (self.skip and self.skip(*row))]

    def compare(self, row, got):
        want = self.reference(*row)
        if got == want:
            return None
        return f"expected {want:#x}, but got {got:#x}"


class SameNan(Form):
    """NaN results may carry any payload."""

    def compare(self, row, got):
        if self.floats.isnan(got) and self.floats.isnan(self.reference(*row)):
            return None
        return super().compare(row, got)


class Approximate(Form):
    """`reference` works on Python floats; the result may be `relative` or `absolute` off, and subnormals flushed."""

    def __init__(self, body, kinds, out, reference, relative=0.0, absolute=0.0, skip=None):
        super().__init__(body, kinds, out, reference, skip)
        self.relative, self.absolute = relative, absolute

    def compare(self, row, got):
        fmt = self.floats
        want = self.reference(*(FLOATS[k].to_float(v) for k, v in zip(self.kinds, row)))
        value = fmt.to_float(got)
        if math.isnan(want) or math.isnan(value):
            return None if math.isnan(want) and math.isnan(value) else f"expected {want}, but got {value}"
        limit = fmt.to_float(fmt.inf - 1)
        if abs(want) > limit * (1 + 2.0 ** -fmt.p):
            return None if abs(value) >= limit and (value > 0) == (want > 0) else f"expected {want}, but got {value}"
        slack = self.relative * abs(want) + self.absolute + fmt.to_float(1 << (fmt.p - 1)) * 1.01
        return None if abs(value - want) <= slack else f"expected {want}, but got {value}"


def ops(mnemonic, count):
    return f"{mnemonic} %y, " + ", ".join("%" + n for n in "abcd"[:count]) + ";"


def signed(value, width):
    return value - (1 << width) if value >> (width - 1) else value


def mask(value, width):
    return value & ((1 << width) - 1)


# ---------------------------------------------------------------------------------------------------------------------
# Floating point


def rounded(name, fmt, mode, ftz, sat):
    """One of add, sub, mul, fma, div, rcp, sqrt with flushing and saturation."""
    if ftz and fmt is F32:
        fmt = sf.FLUSHING_F32

    def reference(*args):
        if ftz:
            args = [fmt.flush(a) for a in args]
        if name == "rcp":
            args = [fmt.one, *args]
        result = getattr(sf, "div" if name == "rcp" else name)(fmt, *args, mode)
        if ftz:
            result = fmt.flush(result)
        return fmt.saturate(result) if sat else result
    return reference


def float_forms(kind):
    fmt, result = FLOATS[kind], []
    for name, count in (("add", 2), ("sub", 2), ("mul", 2), ("fma", 3), ("div", 2), ("rcp", 1), ("sqrt", 1)):
        for mode in MODES:
            for suffix in ("", ".ftz", ".sat", ".ftz.sat") if kind == "f32" else ("",):
                if "sat" in suffix and name in ("div", "rcp", "sqrt"):
                    continue
                result.append(Form(ops(f"{name}.{mode}{suffix}.{kind}", count), " ".join([kind] * count), kind,
                                   rounded(name, fmt, mode, "ftz" in suffix, "sat" in suffix)))
    for name in ("add", "sub", "mul"):  # without a mode: to nearest
        result.append(Form(ops(f"{name}.{kind}", 2), f"{kind} {kind}", kind, rounded(name, fmt, "rn", False, False)))
    return result


def half_reference(name, fmt, suffix):
    base = rounded(name, fmt, "rn", ".ftz" in suffix, ".sat" in suffix)

    def reference(*args):
        result = base(*args)
        if ".relu" in suffix and not fmt.isnan(result) and result & fmt.sign:
            return 0
        return result
    return reference


def packed(reference):
    return lambda *args: reference(*(a & 0xffff for a in args)) | reference(*(a >> 16 for a in args)) << 16


def half_forms():
    result = []
    for kind, fmt in (("f16", F16), ("bf16", BF16)):
        for name, count in (("add", 2), ("sub", 2), ("mul", 2), ("fma", 3)):
            suffixes = ["", ".ftz", ".sat", ".ftz.sat"] if kind == "f16" else [""]
            suffixes += [".relu"] if name == "fma" else []
            for suffix in suffixes:
                mnemonic = name + (".rn" if name == "fma" or kind == "bf16" else "") + suffix
                reference = half_reference(name, fmt, suffix)
                result.append(Form(ops(f"{mnemonic}.{kind}", count), " ".join([kind] * count), kind, reference))
                two = kind + "x2"
                result.append(Form(ops(f"{mnemonic}.{two}", count), " ".join([two] * count), two, packed(reference)))
    return result


def extreme(fmt, largest, suffix):
    def reference(a, b):
        if ".ftz" in suffix:
            a, b = fmt.flush(a), fmt.flush(b)
        sign = (a ^ b) & fmt.sign
        if ".xorsign" in suffix:
            a, b = a & ~fmt.sign, b & ~fmt.sign
        if fmt.isnan(a) or fmt.isnan(b):
            if ".NaN" in suffix or (fmt.isnan(a) and fmt.isnan(b)):
                return fmt.nan
            picked = b if fmt.isnan(a) else a
        else:
            first = (fmt.key(a), not a & fmt.sign) > (fmt.key(b), not b & fmt.sign)
            picked = a if first == largest else b
        return picked | sign if ".xorsign" in suffix else picked
    return reference


def minmax_forms():
    result = []
    for kind, fmt in FLOATS.items():
        for name in ("min", "max"):
            suffixes = {"f64": [""], "f32": ["", ".ftz", ".NaN", ".ftz.NaN", ".xorsign.abs"],
                        "f16": ["", ".ftz", ".NaN", ".xorsign.abs"], "bf16": ["", ".NaN", ".xorsign.abs"]}[kind]
            for suffix in suffixes:
                reference = extreme(fmt, name == "max", suffix)
                result.append(Form(ops(f"{name}{suffix}.{kind}", 2), f"{kind} {kind}", kind, reference))
                if kind in ("f16", "bf16"):
                    two = kind + "x2"
                    result.append(Form(ops(f"{name}{suffix}.{two}", 2), f"{two} {two}", two, packed(reference)))
        result.append(SameNan(ops(f"abs.{kind}", 1), kind, kind, lambda a, f=fmt: a & ~f.sign))
        result.append(SameNan(ops(f"neg.{kind}", 1), kind, kind, lambda a, f=fmt: a ^ f.sign))
    result.append(SameNan(ops("abs.ftz.f32", 1), "f32", "f32", lambda a: F32.flush(a) & ~F32.sign))
    result.append(SameNan(ops("neg.ftz.f32", 1), "f32", "f32", lambda a: F32.flush(a) ^ F32.sign))
    for kind in ("f32", "f64"):  # d = b with the sign of a
        result.append(Form(ops(f"copysign.{kind}", 2), f"{kind} {kind}", kind,
                           lambda a, b, f=FLOATS[kind]: b & ~f.sign | a & f.sign))
    return result


COMPARISONS = {"eq": lambda x, y: x == y, "ne": lambda x, y: x != y, "lt": lambda x, y: x < y,
               "le": lambda x, y: x <= y, "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y}


def float_comparison(fmt, name):
    def reference(a, b):
        nan = fmt.isnan(a) or fmt.isnan(b)
        if name in ("num", "nan"):
            return nan == (name == "nan")
        if nan:
            return name.endswith("u") and name != "u"
        return COMPARISONS[name[:2]](fmt.key(a), fmt.key(b))
    return reference


def int_comparison(kind, name):
    width = int(kind[1:])
    if kind[0] != "s":
        return lambda a, b: {"lo": a < b, "ls": a <= b, "hi": a > b, "hs": a >= b}.get(name) \
            if name in ("lo", "ls", "hi", "hs") else COMPARISONS[name](a, b)
    return lambda a, b: COMPARISONS[name](signed(a, width), signed(b, width))


def compare_forms():
    result, bits = [], {True: 1, False: 0}
    for kind, fmt in FLOATS.items():
        for name in [n + u for n in COMPARISONS for u in ("", "u")] + ["num", "nan"]:
            test = float_comparison(fmt, name)
            result.append(Form(f"setp.{name}.{kind} %p, %a, %b; selp.b32 %y, 1, 0, %p;", f"{kind} {kind}", "b32",
                               lambda a, b, t=test: bits[t(a, b)]))
    for name in ("lt", "neu"):
        test = float_comparison(F32, name)
        result.append(Form(ops(f"set.{name}.u32.f32", 2), "f32 f32", "b32", lambda a, b, t=test: t(a, b) * 0xffffffff))
        result.append(Form(ops(f"set.{name}.f32.f32", 2), "f32 f32", "b32", lambda a, b, t=test: t(a, b) * F32.one))
    for kind in ("s16", "u16", "s32", "u32", "s64", "u64"):
        for name in list(COMPARISONS) + (["lo", "ls", "hi", "hs"] if kind[0] == "u" else []):
            result.append(Form(f"setp.{name}.{kind} %p, %a, %b; selp.b32 %y, 1, 0, %p;", f"{kind} {kind}", "b32",
                               lambda a, b, t=int_comparison(kind, name): bits[t(a, b)]))
    result.append(Form("setp.lt.and.s32 %q, %a, %b, 1; setp.gt.xor.s32 %p|%q, %a, %b, %q; selp.b32 %y, 1, 0, %p;",
                       "s32 s32", "b32", lambda a, b: int(a != b)))
    result.append(Form(ops("slct.b32.s32", 3), "b32 b32 s32", "b32", lambda a, b, c: b if c >> 31 else a))
    result.append(Form(ops("slct.f32.f32", 3), "f32 f32 f32", "f32", lambda a, b, c: b if F32.isnan(c) or F32.key(c) < 0
                       else a))
    for name, test in (("finite", lambda a: a & ~F32.sign < F32.inf), ("infinite", lambda a: a & ~F32.sign == F32.inf),
                       ("number", lambda a: not F32.isnan(a)), ("notanumber", F32.isnan),
                       ("normal", lambda a: a & ~F32.sign == 0 or 1 << 23 <= a & ~F32.sign < F32.inf),  # zero counts
                       ("subnormal", lambda a: 0 < a & ~F32.sign < 1 << 23)):
        result.append(Form(f"testp.{name}.f32 %p, %a; selp.b32 %y, 1, 0, %p;", "f32", "b32",
                           lambda a, t=test: bits[bool(t(a))]))
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Conversions


def bounds(kind):
    width = int(kind[1:])
    return (-1 << (width - 1), (1 << (width - 1)) - 1) if kind[0] == "s" else (0, (1 << width) - 1)


def float_to_int(source, kind, mode, ftz):
    width, (low, high), fmt = int(kind[1:]), bounds(kind), FLOATS[source]
    register = max(width, 16)

    def reference(a):
        value = sf.to_int(fmt, fmt.flush(a) if ftz else a, mode, low, high)
        if value is None:
            value = 1 << (width - 1) if source == "f64" or width == 64 else 0
            value = signed(value, width) if kind[0] == "s" else value
        return mask(value, register)
    return reference


def convert_float_forms():
    result = []
    for source in FLOATS:
        for kind in ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"):
            for mode in ("rni", "rzi", "rmi", "rpi"):
                for ftz in ("", ".ftz") if source == "f32" and mode == "rni" else ("",):
                    out = kind if kind[1:] != "8" else "b16"
                    result.append(Form(ops(f"cvt.{mode}{ftz}.{kind}.{source}", 1), source, out,
                                       float_to_int(source, kind, mode, bool(ftz))))
    for source, fmt in FLOATS.items():
        for target, to in FLOATS.items():
            if source == target or {source, target} == {"f16", "bf16"} or {source, target} == {"f64", "bf16"}:
                continue
            narrows = to.p < fmt.p
            modes = [""] if not narrows else ["rn", "rz"] if target == "bf16" else MODES
            for mode in modes:
                suffixes = [""] + ([".relu"] if target in ("f16", "bf16") and source == "f32" and mode in ("rn", "rz")
                                   else [])
                suffixes += [".sat"] if target in ("f16", "f32") and source != "bf16" else []
                for suffix in suffixes:
                    result.append(Form(ops(f"cvt{mode and '.' + mode}{suffix}.{target}.{source}", 1), source, target,
                                       narrowing(fmt, to, mode or "rn", suffix)))
    for kind, fmt in (("f32", F32), ("f64", F64), ("f16", F16)):
        for mode in ("rni", "rzi", "rmi", "rpi"):
            result.append(Form(ops(f"cvt.{mode}.{kind}.{kind}", 1), kind, kind,
                               lambda a, f=fmt, m=mode: sf.round_integral(f, a, m)))
    return result + packed_convert_forms()


def narrowing(fmt, to, mode, suffix):
    def reference(a):
        result = sf.convert(fmt, to, a, mode)
        if ".relu" in suffix and not to.isnan(result) and result & to.sign:
            return 0
        return to.saturate(result) if ".sat" in suffix else result
    return reference


def tf32(a):
    kind, sign, m, e = F32.decode(a)
    if kind != sf.FINITE:
        return a
    short = sf.Format(19, 11)
    return short.round(sign, m, e, "rna") << 13


def eight_bit(p, bias, emax, largest):
    fmt = sf.Format(8, p)
    fmt.bias, fmt.emin, fmt.emax, fmt.inf = bias, 1 - bias, emax, largest

    def encode(a):
        kind, sign, m, e = F32.decode(a)
        if kind == sf.NAN:
            return 0x7f
        if kind == sf.ZERO:
            return sign << 7
        bits = fmt.round(sign, m, e) if kind == sf.FINITE else largest
        return sign << 7 | min(bits & 0x7f, largest)
    return encode


E4M3, E5M2 = eight_bit(4, 7, 8, 0x7e), eight_bit(3, 15, 15, 0x7b)


def from_eight_bit(bits, p, bias, top):
    sign, magnitude = bits >> 7, bits & 0x7f
    if magnitude > top:
        return F16.nan
    if magnitude == top and p == 3:
        return sign << 15 | F16.inf
    exponent, m = magnitude >> (p - 1), magnitude & ((1 << (p - 1)) - 1)
    m |= (1 << (p - 1)) if exponent else 0
    return F16.round(sign, m, max(exponent, 1) - bias - p + 1) if m else sign << 15


def packed_convert_forms():
    result = [Form(ops("cvt.rna.tf32.f32", 1), "f32", "b32", tf32, skip=F32.isnan)]  # which NaN is not said
    for kind, to in (("f16x2", F16), ("bf16x2", BF16)):
        for mode in ("rn", "rz", "rn.relu"):
            half = narrowing(F32, to, mode[:2], mode[2:])
            result.append(Form(ops(f"cvt.{mode}.{kind}.f32", 2), "f32 f32", kind,
                               lambda a, b, h=half: h(a) << 16 | h(b)))
    for name, encode in (("e4m3x2", E4M3), ("e5m2x2", E5M2)):
        result.append(Form(ops(f"cvt.rn.satfinite.{name}.f32", 2), "f32 f32", "b16",
                           lambda a, b, e=encode: e(a) << 8 | e(b)))
    for name, p, bias, top in (("e4m3x2", 4, 7, 0x7e), ("e5m2x2", 3, 15, 0x7c)):
        result.append(Form(ops(f"cvt.rn.f16x2.{name}", 1), "b16", "f16x2",
                           lambda a, v=(p, bias, top): from_eight_bit(a & 0xff, *v) | from_eight_bit(a >> 8, *v) << 16))
    return result


def convert_int_forms():
    result, kinds = [], ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"]
    for source in kinds:
        width = int(source[1:])
        value = (lambda a, w=width: signed(a, w)) if source[0] == "s" else (lambda a: a)
        for target, fmt in FLOATS.items():
            for mode in ["rn"] if target == "bf16" else MODES:
                result.append(Form(ops(f"cvt.{mode}.{target}.{source}", 1), source, target,
                                   lambda a, v=value, f=fmt, m=mode: sf.from_int(f, v(a), m)))
        for target in kinds:
            to, (low, high) = int(target[1:]), bounds(target)
            register = max(to, 16)
            out = target if to > 8 else "b16"
            def wrap(a, v=value, t=target, w=to, r=register):
                low_bits = mask(v(a), w)
                return mask(signed(low_bits, w), r) if t[0] == "s" else low_bits
            result.append(Form(ops(f"cvt.{target}.{source}", 1), source, out, wrap))
            if source != target:
                result.append(Form(ops(f"cvt.sat.{target}.{source}", 1), source, out,
                                   lambda a, v=value, b=(low, high), r=register: mask(min(max(v(a), b[0]), b[1]), r)))
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Integers


def truncating(a, b):
    quotient = abs(a) // abs(b)
    return -quotient if (a < 0) != (b < 0) else quotient


def integer_forms():
    result = []
    for kind in ("s16", "u16", "s32", "u32", "s64", "u64"):
        width, is_signed = int(kind[1:]), kind[0] == "s"
        num = (lambda a, w=width: signed(a, w)) if is_signed else (lambda a: a)
        low, high = bounds(kind)
        def form(name, compute, count=2, out=kind, skip=None, wide=width, n=num):
            result.append(Form(ops(f"{name}.{kind}", count), " ".join([kind] * count), out,
                               lambda *args: mask(compute(*map(n, args)), wide), skip))
        form("add", lambda a, b: a + b)
        form("sub", lambda a, b: a - b)
        form("mul.lo", lambda a, b: a * b)
        form("mul.hi", lambda a, b, w=width: a * b >> w)
        form("mad.lo", lambda a, b, c: a * b + c, 3)
        if width >= 32:
            form("mad.hi", lambda a, b, c, w=width: (a * b >> w) + c, 3)
        form("min", min)
        form("max", max)
        zero = lambda a, b: b == 0
        form("div", truncating, skip=zero)
        form("rem", lambda a, b: a - b * truncating(a, b), skip=zero)
        form("sad", lambda a, b, c: abs(a - b) + c, 3)
        if width <= 32:
            wide_kind = kind[0] + str(2 * width)
            form("mul.wide", lambda a, b: a * b, 2, wide_kind, None, 2 * width)
            result.append(Form(ops(f"mad.wide.{kind}", 3), f"{kind} {kind} {wide_kind}", wide_kind,
                               lambda a, b, c, n=num, w=width: mask(n(a) * n(b) + c, 2 * w)))
        if is_signed:
            form("abs", abs, 1)
            form("neg", lambda a: -a, 1)
        result.append(Form(ops(f"shr.{kind}", 2), f"{kind} u32", kind,
                           lambda a, b, n=num, w=width: mask(n(a) >> min(b, w), w)))
    clamp = lambda v: mask(min(max(v, -1 << 31), (1 << 31) - 1), 32)
    s = lambda a: signed(a, 32)
    result.append(Form(ops("add.sat.s32", 2), "s32 s32", "s32", lambda a, b: clamp(s(a) + s(b))))
    result.append(Form(ops("sub.sat.s32", 2), "s32 s32", "s32", lambda a, b: clamp(s(a) - s(b))))
    result.append(Form(ops("mad.hi.sat.s32", 3), "s32 s32 s32", "s32", lambda a, b, c: clamp((s(a) * s(b) >> 32) + s(c))))
    result.append(Form(ops("min.relu.s32", 2), "s32 s32", "s32", lambda a, b: max(min(s(a), s(b)), 0)))
    result.append(Form(ops("max.relu.s32", 2), "s32 s32", "s32", lambda a, b: max(s(a), s(b), 0)))
    for kind, n in (("u32", lambda a: a & 0xffffff), ("s32", lambda a: signed(a & 0xffffff, 24))):
        result.append(Form(ops(f"mul24.lo.{kind}", 2), f"{kind} {kind}", kind, lambda a, b, n=n: mask(n(a) * n(b), 32)))
        result.append(Form(ops(f"mul24.hi.{kind}", 2), f"{kind} {kind}", kind,
                           lambda a, b, n=n: mask(n(a) * n(b) >> 16, 32)))
        result.append(Form(ops(f"mad24.lo.{kind}", 3), " ".join([kind] * 3), kind,
                           lambda a, b, c, n=n: mask(n(a) * n(b) + c, 32)))
    for kind in ("u16x2", "s16x2"):
        n = (lambda a: signed(a, 16)) if kind[0] == "s" else (lambda a: a)
        relu = [("min.relu", lambda a, b: max(min(a, b), 0)), ("max.relu", lambda a, b: max(a, b, 0))] if kind[0] == "s" else []
        for name, compute in (("add", lambda a, b: a + b), ("min", min), ("max", max), *relu):
            result.append(Form(ops(f"{name}.{kind}", 2), f"{kind} {kind}", kind,
                               packed(lambda a, b, f=compute, n=n: mask(f(n(a), n(b)), 16))))
    return result + dot_forms()


def dot_forms():
    result = []
    parts = lambda v, size, is_signed: [signed(mask(v >> k, size), size) if is_signed else mask(v >> k, size)
                                        for k in range(0, 32, size)]
    for a_kind in "us":
        for b_kind in "us":
            x, y = a_kind == "s", b_kind == "s"
            result.append(Form(ops(f"dp4a.{a_kind}32.{b_kind}32", 3), "b32 b32 b32", "b32", lambda a, b, c, x=x, y=y: mask(
                sum(p * q for p, q in zip(parts(a, 8, x), parts(b, 8, y))) + c, 32)))
            for half, first in (("lo", 0), ("hi", 2)):
                result.append(Form(ops(f"dp2a.{half}.{a_kind}32.{b_kind}32", 3), "b32 b32 b32", "b32",
                                   lambda a, b, c, x=x, y=y, f=first: mask(sum(p * q for p, q in zip(
                                       parts(a, 16, x), parts(b, 8, y)[f:f + 2])) + c, 32)))
    return result


def carry_forms():
    """Chains through the carry flag: 64-bit sums and products from 32-bit halves, in the low and the high result."""
    words = "b32 b32 b32 b32"
    join = lambda high, low: high << 32 | low
    result = []
    for y, shift in (("%t0", 0), ("%t1", 32)):
        take = lambda v, s=shift: mask(v >> s, 32)
        end = f" mov.b32 %y, {y};"
        result.append(Form("add.cc.u32 %t0, %a, %c; addc.u32 %t1, %b, %d;" + end, words, "b32",
                           lambda a, b, c, d, t=take: t(join(b, a) + join(d, c))))
        result.append(Form("sub.cc.u32 %t0, %a, %c; subc.u32 %t1, %b, %d;" + end, words, "b32",
                           lambda a, b, c, d, t=take: t(join(b, a) - join(d, c))))
        result.append(Form("mad.lo.cc.u32 %t0, %a, %b, %c; madc.hi.u32 %t1, %a, %b, %d;" + end, words, "b32",
                           lambda a, b, c, d, t=take: t(a * b + join(d, c))))
    third = lambda a, b, c, d: mask((join(b, a) + join(d, c) >> 64) + 5, 32)
    result.append(Form("add.cc.u32 %t0, %a, %c; addc.cc.u32 %t1, %b, %d; addc.u32 %y, 2, 3;", words, "b32", third))
    result.append(Form("sub.cc.u32 %t0, %a, %c; subc.cc.u32 %t1, %b, %d; subc.u32 %y, 9, 3;", words, "b32",
                       lambda a, b, c, d: 6 - (join(b, a) < join(d, c))))
    result.append(Form("add.cc.u64 %w0, %a, %b; addc.u64 %y, %a, 0;", "b64 b64", "b64",
                       lambda a, b: mask(a + (a + b >> 64), 64)))
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Bits


def bit_extract(width, is_signed):
    def reference(a, b, c):
        position, length = b & 0xff, c & 0xff
        if length == 0:
            return 0
        fill = is_signed and a >> min(position + length - 1, width - 1) & 1
        value = mask(a >> position, min(length, max(0, width - position)))
        kept = max(0, min(length, width - position))
        return mask(value | (-1 << kept if fill else 0), width)
    return reference


def bit_insert(width):
    def reference(a, b, c, d):
        position, length = c & 0xff, d & 0xff
        field = mask(mask(-1, length) << position, width)
        return b & ~field | mask(a << position, width) & field
    return reference


def leading(width, is_signed, amount):
    def reference(a):
        if is_signed and a >> (width - 1):
            a ^= (1 << width) - 1
        if a == 0:
            return 0xffffffff
        return width - a.bit_length() if amount else a.bit_length() - 1
    return reference


def permute(a, b, c):
    source, result = b << 32 | a, 0
    for k in range(4):
        selector = c >> 4 * k & 0xf
        byte = source >> 8 * (selector & 7) & 0xff
        result |= ((0xff if byte & 0x80 else 0) if selector & 8 else byte) << 8 * k
    return result


def permute_mode(mode):
    def reference(a, b, c):
        n, source = c & 3, b << 32 | a
        picks = {"f4e": [n, n + 1, n + 2, n + 3], "b4e": [n, n - 1, n - 2, n - 3], "rc8": [n] * 4,
                 "ecl": [max(k, n) for k in range(4)], "ecr": [min(k, n) for k in range(4)],
                 "rc16": [0, 1, 0, 1] if n % 2 == 0 else [2, 3, 2, 3]}[mode]
        return sum((source >> 8 * (p % 8) & 0xff) << 8 * k for k, p in enumerate(picks))
    return reference


def funnel(right, wraps):
    def reference(a, b, c):
        n = c & 31 if wraps else min(c, 32)
        pair = b << 32 | a
        return mask(pair >> n, 32) if right else mask(pair << n >> 32, 32)
    return reference


def lookup3(table):
    def reference(a, b, c):
        result = 0
        for k in range(32):
            result |= (table >> ((a >> k & 1) << 2 | (b >> k & 1) << 1 | (c >> k & 1)) & 1) << k
        return result
    return reference


def bit_forms():
    result = []
    for width in (16, 32, 64):
        kind = f"b{width}"
        two, ones = f"{kind} {kind}", (1 << width) - 1
        result += [Form(ops(f"and.{kind}", 2), two, kind, lambda a, b: a & b),
                   Form(ops(f"or.{kind}", 2), two, kind, lambda a, b: a | b),
                   Form(ops(f"xor.{kind}", 2), two, kind, lambda a, b: a ^ b),
                   Form(ops(f"not.{kind}", 1), kind, kind, lambda a, m=ones: a ^ m),
                   Form(ops(f"cnot.{kind}", 1), kind, kind, lambda a: int(a == 0)),
                   Form(ops(f"shl.{kind}", 2), f"{kind} u32", kind,
                        lambda a, b, w=width: mask(a << min(b, w), w))]
    for width in (32, 64):
        kind = f"b{width}"
        result += [Form(ops(f"popc.{kind}", 1), kind, "b32", lambda a: bin(a).count("1")),
                   Form(ops(f"clz.{kind}", 1), kind, "b32", lambda a, w=width: w - a.bit_length()),
                   Form(ops(f"brev.{kind}", 1), kind, kind, lambda a, w=width: int(f"{a:0{w}b}"[::-1], 2)),
                   Form(ops(f"bfi.{kind}", 4), f"{kind} {kind} u32 u32", kind, bit_insert(width))]
        for sign in "us":
            typed = sign + str(width)
            result.append(Form(ops(f"bfe.{typed}", 3), f"{typed} u32 u32", typed, bit_extract(width, sign == "s")))
            result.append(Form(ops(f"bfind.{typed}", 1), typed, "b32", leading(width, sign == "s", False)))
            result.append(Form(ops(f"bfind.shiftamt.{typed}", 1), typed, "b32", leading(width, sign == "s", True)))
    result.append(Form(ops("prmt.b32", 3), "b32 b32 b32", "b32", permute))
    for mode in ("f4e", "b4e", "rc8", "ecl", "ecr", "rc16"):
        result.append(Form(ops(f"prmt.b32.{mode}", 3), "b32 b32 b32", "b32", permute_mode(mode)))
    for side in "lr":
        for mode in ("clamp", "wrap"):
            result.append(Form(ops(f"shf.{side}.{mode}.b32", 3), "b32 b32 u32", "b32",
                               funnel(side == "r", mode == "wrap")))
    for table in (0x00, 0x96, 0xe8, 0xca, 0x1b, 0xff):
        result.append(Form(f"lop3.b32 %y, %a, %b, %c, {table};", "b32 b32 b32", "b32", lookup3(table)))
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Approximate functions, within the ISA's documented error


def guarded(function):
    """math's functions with IEEE results where they raise."""
    def call(*args):
        try:
            return function(*args)
        except OverflowError:
            return math.inf
        except (ValueError, ZeroDivisionError):
            return math.nan
    return call


def flushed(x):
    return math.copysign(0.0, x) if abs(x) < 2.0 ** -126 else x


def reciprocal(x):
    return math.copysign(math.inf, x) if x == 0 else 1 / x


def log2(x):
    return -math.inf if x == 0 else math.log2(x)


def approximate_forms():
    f = "f32"
    outside = lambda a: abs(F32.to_float(a)) > math.pi
    nan_or_big = lambda a: F32.isnan(a) or outside(a)
    quotient = lambda a, b: not 2.0 ** -126 <= abs(F32.to_float(b)) <= 2.0 ** 126 or F32.isnan(a) or F32.isnan(b)
    result = [
        Approximate(ops("rcp.approx.f32", 1), f, f, reciprocal, 2.0 ** -23, skip=lambda a: 0 < a & ~F32.sign < 1 << 23),
        Approximate(ops("rcp.approx.ftz.f32", 1), f, f, lambda x: reciprocal(flushed(x)), 2.0 ** -23),
        Approximate(ops("sqrt.approx.f32", 1), f, f, guarded(math.sqrt), 2.0 ** -23),
        Approximate(ops("rsqrt.approx.f32", 1), f, f,
                    guarded(lambda x: math.copysign(math.inf, x) if x == 0 else 1 / math.sqrt(x)), 2.0 ** -22.4),
        Approximate(ops("ex2.approx.f32", 1), f, f, guarded(lambda x: 2.0 ** x), 2.0 ** -22),
        Approximate(ops("ex2.approx.ftz.f32", 1), f, f, guarded(lambda x: 2.0 ** flushed(x)), 2.0 ** -22),
        Approximate(ops("lg2.approx.f32", 1), f, f, guarded(log2), 2.0 ** -22, 2.0 ** -22),
        Approximate(ops("lg2.approx.ftz.f32", 1), f, f, guarded(lambda x: log2(flushed(x))), 2.0 ** -22, 2.0 ** -22),
        Approximate(ops("sin.approx.f32", 1), f, f, math.sin, absolute=2.0 ** -20.5, skip=nan_or_big),
        Approximate(ops("cos.approx.f32", 1), f, f, math.cos, absolute=2.0 ** -20.5, skip=nan_or_big),
        Approximate(ops("tanh.approx.f32", 1), f, f, math.tanh, 2.0 ** -11),
        Approximate(ops("div.approx.f32", 2), "f32 f32", f, lambda x, y: x / y, 2.0 ** -22, skip=quotient),
        Approximate(ops("div.full.f32", 2), "f32 f32", f, lambda x, y: x / y, 2.0 ** -22, skip=quotient),
        Approximate(ops("ex2.approx.f16", 1), "f16", "f16", guarded(lambda x: 2.0 ** x), 2.0 ** -9.9),
        Approximate(ops("tanh.approx.f16", 1), "f16", "f16", math.tanh, 2.0 ** -10.987),
        Approximate(ops("ex2.approx.ftz.bf16", 1), "bf16", "bf16", guarded(lambda x: 2.0 ** x), 2.0 ** -7),
        Approximate(ops("tanh.approx.bf16", 1), "bf16", "bf16", math.tanh, 2.0 ** -8),
        # The lower half of the operand is ignored: a NaN may turn into infinity.
        Approximate(ops("rcp.approx.ftz.f64", 1), "f64", "f64", reciprocal, 2.0 ** -20,
                    skip=lambda a: F64.isnan(a) or 0 < a & ~F64.sign < 1 << 52),
        Approximate(ops("rsqrt.approx.ftz.f64", 1), "f64", "f64",
                    guarded(lambda x: math.copysign(math.inf, x) if x == 0 else 1 / math.sqrt(x)), 2.0 ** -20,
                    skip=lambda a: F64.isnan(a) or 0 < a & ~F64.sign < 1 << 52)]
    return result


def groups():
    return {"f32": float_forms("f32"), "f64": float_forms("f64"), "half": half_forms(), "minmax": minmax_forms(),
            "compare": compare_forms(), "convert-float": convert_float_forms(), "convert-int": convert_int_forms(),
            "integer": integer_forms(), "carry": carry_forms(), "bits": bit_forms(),
            "approximate": approximate_forms()}

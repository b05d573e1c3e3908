# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exact floating-point arithmetic on bit patterns, with integers: slow, and independent of the machine and of numpy.

A finite value is (sign, m, e) = (-1)^sign * m * 2^e with m > 0; inexact quotients and roots carry a sticky last bit.
"""

from math import isqrt

NAN, INF, ZERO, FINITE = range(4)


class Format:
    """IEEE-like format: `p` bits of precision with the hidden one, `width` in all.

    With `flushes`, results that are tiny after rounding become zeros of their sign.
    """

    def __init__(self, width, p, flushes=False):
        self.width, self.p, self.flushes = width, p, flushes
        self.bias = (1 << (width - p - 1)) - 1
        self.emin, self.emax = 1 - self.bias, self.bias
        self.sign = 1 << (width - 1)
        self.inf = (2 * self.bias + 1) << (p - 1)
        self.nan = self.sign - 1 if width < 64 else self.inf | 1 << (p - 2)  # what the machine makes
        self.one = self.bias << (p - 1)

    def decode(self, bits):
        sign, magnitude = bits >> (self.width - 1), bits & (self.sign - 1)
        if magnitude > self.inf:
            return NAN, 0, 0, 0
        if magnitude == self.inf:
            return INF, sign, 0, 0
        if magnitude == 0:
            return ZERO, sign, 0, 0
        exponent, fraction = magnitude >> (self.p - 1), magnitude & ((1 << (self.p - 1)) - 1)
        if exponent:
            fraction |= 1 << (self.p - 1)
        return FINITE, sign, fraction, max(exponent, 1) - self.bias - self.p + 1

    def round(self, sign, m, e, mode="rn"):
        """Bits of the rounded value; modes rn, rz, rm, rp and rna (ties away from zero)."""
        low = max(m.bit_length() - 1 + e, -10 ** 6 if self.flushes else self.emin) - (self.p - 1)
        shift = low - e
        if shift <= 0:
            n = m << -shift
        else:
            n, rest, half = m >> shift, m & ((1 << shift) - 1), 1 << (shift - 1)
            n += {"rn": rest > half or (rest == half and n & 1), "rna": rest >= half, "rz": False,
                  "rm": sign and rest != 0, "rp": not sign and rest != 0}[mode]
        if n.bit_length() > self.p:
            n, low = n >> 1, low + 1
        signed = sign << (self.width - 1)
        if self.flushes and low + self.p - 1 < self.emin:
            return signed
        if low + self.p - 1 > self.emax:
            grows = mode in ("rn", "rna") or mode == ("rm" if sign else "rp")
            return signed | (self.inf if grows else self.inf - 1)
        if n < 1 << (self.p - 1):
            return signed | n
        return signed | (low + self.p - 1 + self.bias) << (self.p - 1) | (n - (1 << (self.p - 1)))

    def flush(self, bits):
        """Subnormals to zeros of their sign."""
        return bits & self.sign if 0 < bits & (self.sign - 1) < 1 << (self.p - 1) else bits

    def isnan(self, bits):
        return bits & (self.sign - 1) > self.inf

    def saturate(self, bits):
        if self.isnan(bits) or bits & self.sign:
            return 0
        return min(bits, self.one)

    def key(self, bits):
        """Orders everything but NaN; the zeros are equal."""
        magnitude = bits & (self.sign - 1)
        return -magnitude if bits & self.sign else magnitude

    def to_float(self, bits):
        kind, sign, m, e = self.decode(bits)
        value = float("nan") if kind == NAN else float("inf") if kind == INF else float(m) * 2.0 ** e
        return -value if sign else value


FLUSHING_F32 = Format(32, 24, flushes=True)
F16, BF16, F32, F64 = Format(16, 11), Format(16, 8), Format(32, 24), Format(64, 53)


def zero_of(fmt, sign):
    return sign << (fmt.width - 1)


def exact_sum(x, y):
    """Of two finite values: (sign, m, e), m = 0 when they cancel."""
    (_, s, m, e), (_, t, n, f) = x, y
    low = min(e, f)
    total = (-1) ** s * (m << (e - low)) + (-1) ** t * (n << (f - low))
    return int(total < 0), abs(total), low


def add_values(fmt, x, y, mode):
    if NAN in (x[0], y[0]) or (x[0] == y[0] == INF and x[1] != y[1]):
        return fmt.nan
    if INF in (x[0], y[0]):
        return fmt.inf | zero_of(fmt, x[1] if x[0] == INF else y[1])
    if x[0] == y[0] == ZERO:
        return zero_of(fmt, x[1] if x[1] == y[1] else mode == "rm")
    if y[0] == ZERO or x[0] == ZERO:
        sign, m, e = (x if y[0] == ZERO else y)[1:]
    else:
        sign, m, e = exact_sum(x, y)
    return fmt.round(sign, m, e, mode) if m else zero_of(fmt, mode == "rm")


def product(x, y):
    """Of two decoded values, as a decoded value."""
    kinds, sign = (x[0], y[0]), x[1] ^ y[1]
    if NAN in kinds or (INF in kinds and ZERO in kinds):
        return NAN, 0, 0, 0
    if INF in kinds:
        return INF, sign, 0, 0
    if ZERO in kinds:
        return ZERO, sign, 0, 0
    return FINITE, sign, x[2] * y[2], x[3] + y[3]


def encode(fmt, value, mode):
    kind, sign, m, e = value
    if kind == FINITE:
        return fmt.round(sign, m, e, mode)
    return fmt.nan if kind == NAN else zero_of(fmt, sign) | (fmt.inf if kind == INF else 0)


def add(fmt, a, b, mode="rn"):
    return add_values(fmt, fmt.decode(a), fmt.decode(b), mode)


def sub(fmt, a, b, mode="rn"):
    return add(fmt, a, b if fmt.isnan(b) else b ^ fmt.sign, mode)


def mul(fmt, a, b, mode="rn"):
    return encode(fmt, product(fmt.decode(a), fmt.decode(b)), mode)


def fma(fmt, a, b, c, mode="rn"):
    return add_values(fmt, product(fmt.decode(a), fmt.decode(b)), fmt.decode(c), mode)


def div(fmt, a, b, mode="rn"):
    x, y = fmt.decode(a), fmt.decode(b)
    sign = x[1] ^ y[1]
    if NAN in (x[0], y[0]) or (x[0] == y[0] and x[0] in (INF, ZERO)):
        return fmt.nan
    if x[0] == INF or y[0] == ZERO:
        return zero_of(fmt, sign) | fmt.inf
    if x[0] == ZERO or y[0] == INF:
        return zero_of(fmt, sign)
    shift = 2 * fmt.p + 4 + max(0, y[2].bit_length() - x[2].bit_length())
    quotient, rest = divmod(x[2] << shift, y[2])
    return fmt.round(sign, quotient << 1 | (rest != 0), x[3] - y[3] - shift - 1, mode)


def sqrt(fmt, a, mode="rn"):
    kind, sign, m, e = fmt.decode(a)
    if kind == NAN or (sign and kind != ZERO):
        return fmt.nan
    if kind != FINITE:
        return a
    shift = 2 * fmt.p + 6 + (e & 1)
    root = isqrt(m << shift)
    return fmt.round(0, root << 1 | (root * root != m << shift), (e - shift) // 2 - 1, mode)


def convert(source, target, bits, mode="rn"):
    return encode(target, source.decode(bits), mode)


def from_int(fmt, value, mode="rn"):
    return fmt.round(int(value < 0), abs(value), 0, mode) if value else 0


def to_int(fmt, bits, mode, low, high):
    """Rounded and clamped to [low, high]; None for NaN."""
    kind, sign, m, e = fmt.decode(bits)
    if kind == NAN:
        return None
    if kind == INF:
        return low if sign else high
    value = integral(sign, m, e, mode) if kind == FINITE else 0
    return min(max(value, low), high)


def integral(sign, m, e, mode):
    if e >= 0:
        n = m << e
    else:
        n, rest, half = m >> -e, m & ((1 << -e) - 1), 1 << (-e - 1)
        n += {"rni": rest > half or (rest == half and n & 1), "rzi": False, "rmi": sign and rest != 0,
              "rpi": not sign and rest != 0}[mode]
    return -n if sign else n


def round_integral(fmt, bits, mode):
    kind, sign, m, e = fmt.decode(bits)
    if kind == NAN:
        return fmt.nan
    if kind != FINITE:
        return bits
    value = integral(sign, m, e, mode)
    return fmt.round(sign, abs(value), 0) if value else zero_of(fmt, sign)

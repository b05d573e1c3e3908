# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Instructions of whole warps, of shared memory and of control flow on the machine, against numpy.

usage: warps.py LIBRARY
"""

import sys

import numpy as np

from vmdriver import Machine

machine = Machine(sys.argv[1])
rng = np.random.default_rng(3)
HEAD = ".version 8.6\n.target sm_90\n.address_size 64\n"
REGISTERS = ("  .reg .b32 %lane, %t<40>; .reg .b64 %base, %at, %w<8>; .reg .b16 %h<20>; .reg .f32 %f<8>;\n"
             "  .reg .pred %p, %q; .reg .f64 %d<8>;\n  mov.u32 %lane, %tid.x;\n")


def run(body, arrays, threads=32, extra="", grid=1):
    """`body` finds the address of element %lane of array k (its type's size apart) through AT(k)."""
    params = ", ".join(f".param .u64 p{k}" for k in range(len(arrays)))
    for k, array in enumerate(arrays):
        body = body.replace(f"AT({k})", f"ld.param.u64 %base, [p{k}]; mad.wide.u32 %at, %lane, "
                                        f"{array.itemsize}, %base;")
        body = body.replace(f"BASE({k})", f"ld.param.u64 %base, [p{k}];")
    text = f"{HEAD}{extra}.visible .entry k({params}) {{\n{REGISTERS}{body}\n  ret;\n}}\n"
    module = machine.load(text)
    machine.launch(machine.function(module, "k"), grid, threads, arrays)
    machine.check(machine.cu.cuModuleUnload(module))


# ---------------------------------------------------------------------------------------------------------------------
# mma.sync: small integers, so that every order of summation gives the same bits


G, T = np.arange(32) // 4, np.arange(32) % 4


def pack(columns, dtype):
    """Registers x lanes from registers x elements-per-register x lanes."""
    data = np.stack([np.stack(register) for register in columns]).astype(dtype)
    return np.ascontiguousarray(data.transpose(0, 2, 1)).view("u4" if data.itemsize < 8 else "u8")[..., 0]


def fragments(m, k, per, size, matrix_a, matrix_b):
    """A (m x k) and B (k x n) as lanes hold them: `per` elements of a register lie side by side along k."""
    rows = [G, G + 8] if m == 16 else [G]
    halves = range(0, k, 4 * per)
    a = [[matrix_a[row, at + T * per + j] for j in range(per)] for at in halves for row in rows]
    b = [[matrix_b[at + T * per + j, G] for j in range(per)] for at in halves]
    return a, b


def bf16(values):
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


MMA = [  # shape, types, elements per register, storage of A and B, storage of the accumulators
    ("m16n8k16.row.col.f32.f16.f16.f32", 16, 16, 2, np.float16, np.float32),
    ("m16n8k16.row.col.f32.bf16.bf16.f32", 16, 16, 2, bf16, np.float32),
    ("m16n8k8.row.col.f32.f16.f16.f32", 16, 8, 2, np.float16, np.float32),
    ("m16n8k8.row.col.f32.bf16.bf16.f32", 16, 8, 2, bf16, np.float32),
    ("m16n8k16.row.col.f16.f16.f16.f16", 16, 16, 2, np.float16, np.float16),
    ("m16n8k8.row.col.f16.f16.f16.f16", 16, 8, 2, np.float16, np.float16),
    ("m16n8k8.row.col.f32.tf32.tf32.f32", 16, 8, 1, np.float32, np.float32),
    ("m16n8k4.row.col.f32.tf32.tf32.f32", 16, 4, 1, np.float32, np.float32),
    ("m16n8k32.row.col.s32.s8.s8.s32", 16, 32, 4, np.int8, np.int32),
    ("m16n8k16.row.col.s32.s8.s8.s32", 16, 16, 4, np.int8, np.int32),
    ("m16n8k32.row.col.s32.u8.s8.s32", 16, 32, 4, np.uint8, np.int32),
    ("m8n8k16.row.col.s32.s8.u8.s32", 8, 16, 4, np.int8, np.int32),
    ("m8n8k4.row.col.f64.f64.f64.f64", 8, 4, 1, np.float64, np.float64)]


def multiply_accumulate():
    for spelling, m, k, per, store, accumulator in MMA:
        signed_a, signed_b = "u8." not in spelling.split("col.")[1][4:7], ".u8.s32" not in spelling
        a = rng.integers(-8 if signed_a else 0, 200 if not signed_a else 9, (m, k))
        b = rng.integers(-8 if signed_b else 0, 200 if not signed_b else 9, (k, 8))
        c = rng.integers(-50, 50, (m, 8))
        fa, fb = fragments(m, k, per, None, a, b)
        convert = lambda f, kind: [[kind(v) if kind is bf16 else v.astype(kind) for v in reg] for reg in f]
        kind_b = np.uint8 if not signed_b else np.int8 if store is np.uint8 else store
        dtype = np.uint16 if store is bf16 else store
        regs_a = pack(convert(fa, store), dtype)
        regs_b = pack(convert(fb, kind_b), np.uint16 if store is bf16 else kind_b)
        rows = [G, G + 8] if m == 16 else [G]
        step = 2 if accumulator is np.float16 else 1
        fc = [[c[row, 2 * T + j + i] for i in range(step)] for row in rows for j in range(0, 2, step)]
        regs_c = pack(fc, accumulator)
        out = np.zeros_like(regs_c)
        wide = accumulator is np.float64
        lists, body = [], ""
        for index, regs in enumerate((regs_a, regs_b, regs_c)):
            names = [("%w" if wide else "%t") + str(8 * index + r if not wide else 2 * index + r)
                     for r in range(len(regs))]
            lists.append("{" + ", ".join(names) + "}")
            for r, name in enumerate(names):
                body += f"  AT({index}) ld.global.b{64 if wide else 32} {name}, [%at+{r * 32 * regs.itemsize}];\n"
        d = lists[2]
        if wide:
            a_list, b_list, d = "{%d0}", "{%d1}", "{%d2, %d3}"
            body += "  mov.b64 %d0, %w0; mov.b64 %d1, %w2; mov.b64 %d2, %w4; mov.b64 %d3, %w5;\n"
        else:
            a_list, b_list = lists[:2]
        if ".f32" == spelling[-4:]:
            body += "".join(f"  mov.b32 %f{r}, %t{16 + r};\n" for r in range(len(regs_c)))
            d = "{" + ", ".join(f"%f{r}" for r in range(len(regs_c))) + "}"
        body += f"  mma.sync.aligned.{spelling} {d}, {a_list}, {b_list}, {d};\n"
        for r, name in enumerate(d.strip("{}").split(", ")):
            body += f"  AT(3) st.global.b{64 if wide else 32} [%at+{r * 32 * out.itemsize}], {name};\n"
        run(body, [regs_a, regs_b, regs_c, out])
        want = pack([[(a @ b + c)[row, 2 * T + j + i] for i in range(step)] for row in rows for j in range(0, 2, step)],
                    accumulator)
        assert (out == want).all(), (spelling, out, want)


def integer_saturation():
    """.satfinite clamps the sum, without it the sum wraps."""
    ones = np.full((4, 32), 0x7f7f7f7f, np.uint32)
    for suffix, want in ((".satfinite", 0x7fffffff), ("", (0x7fffff00 + 32 * 127 * 127) & 0xffffffff)):
        out = np.zeros(32, np.uint32)
        run("  AT(0) ld.global.b32 %t0, [%at]; mov.b32 %t4, 0x7fffff00;\n"
            f"  mma.sync.aligned.m16n8k32.row.col{suffix}.s32.s8.s8.s32 {{%t5, %t6, %t7, %t8}}, {{%t0, %t0, %t0, %t0}}, "
            "{%t0, %t0}, {%t4, %t4, %t4, %t4};\n  AT(1) st.global.b32 [%at], %t7;", [ones, out])
        assert (out == want).all(), (suffix, hex(out[0]))


def matrix_transfers():
    """ldmatrix and stmatrix of one, two and four 8x8 tiles, plain and transposed."""
    for count in (1, 2, 4):
        for transposed in (False, True):
            tiles = rng.integers(0, 1 << 16, (count, 8, 8)).astype(np.uint16)
            names = ", ".join(f"%t{r}" for r in range(count))
            suffix = f"sync.aligned.m8n8.x{count}{'.trans' if transposed else ''}.shared.b16"
            view = tiles.transpose(0, 2, 1) if transposed else tiles
            lanes = np.ascontiguousarray(view.reshape(count, 32, 2)).view(np.uint32)[..., 0]
            shared = "  .shared .align 16 .b8 s[512];\n"
            row = f"  and.b32 %t8, %lane, {8 * count - 1}; shl.b32 %t8, %t8, 4; mov.u32 %t9, s; add.u32 %t8, %t8, %t9;\n"
            fill = "".join(f"  ld.global.b32 %t10, [%at+{128 * k}]; mad.lo.u32 %t11, %lane, 4, %t9; "
                           f"st.shared.b32 [%t11+{128 * k}], %t10;\n" for k in range(count))
            out = np.zeros((count, 32), np.uint32)
            run(shared + row + "  AT(0)\n" + fill + f"  bar.warp.sync -1;\n  ldmatrix.{suffix} {{{names}}}, [%t8];\n  AT(1)\n" +
                "".join(f"  st.global.b32 [%at+{128 * r}], %t{r};\n" for r in range(count)),
                [tiles.reshape(-1).view(np.uint32), out])
            assert (out == lanes).all(), ("ldmatrix", count, transposed)
            out = np.zeros(tiles.size // 2, np.uint32)
            run(shared + row + "  AT(0)\n" + "".join(f"  ld.global.b32 %t{r}, [%at+{128 * r}];\n" for r in range(count)) +
                f"  stmatrix.{suffix} [%t8], {{{names}}};\n  bar.warp.sync -1;\n  AT(1)\n" +
                "".join(f"  mad.lo.u32 %t11, %lane, 4, %t9; ld.shared.b32 %t10, [%t11+{128 * k}]; "
                        f"st.global.b32 [%at+{128 * k}], %t10;\n" for k in range(count)), [lanes.copy(), out])
            assert (out.view(np.uint16).reshape(count, 8, 8) == tiles).all(), ("stmatrix", count, transposed)


# ---------------------------------------------------------------------------------------------------------------------
# Atomics


def f16_bits(values):
    return np.asarray(values, np.float16).view(np.uint16).astype(np.uint32)


def atomics():
    """32 lanes on one address: the final value, and the values before as a chain that begins with the first."""
    u = lambda bits: (lambda v: int(v) % (1 << bits))
    operands = rng.integers(-1000, 1000, 32)
    cases = []
    for bits in (32, 64):
        s = lambda v, b=bits: v - (1 << b) if v >> (b - 1) else v
        for name, step in (("add.u", lambda x, y: x + y), ("min.u", min), ("max.u", max), ("and.b", lambda x, y: x & y),
                           ("or.b", lambda x, y: x | y), ("xor.b", lambda x, y: x ^ y), ("exch.b", lambda x, y: y),
                           ("min.s", lambda x, y, s=s: min(s(x), s(y))), ("max.s", lambda x, y, s=s: max(s(x), s(y)))):
            cases.append((name + str(bits), bits, step))
    cases.append(("inc.u32", 32, lambda x, y: 0 if x >= y else x + 1))
    cases.append(("dec.u32", 32, lambda x, y: y if x == 0 or x > y else x - 1))
    for space in ("global", "shared"):
        for name, bits, step in cases:
            start = 5
            cell, old = np.array([start], f"u{bits // 8}"), np.zeros(32, f"u{bits // 8}")
            data = np.array([u(bits)(v) for v in operands], f"u{bits // 8}")
            letter = "%t" if bits == 32 else "%w"
            copy_in = copy_out = ""
            where = "[%base]"
            if space == "shared":  # lane 0 moves the cell there and back
                where = "[s]"
                copy_in = (f"  .shared .align 8 .b8 s[8];\n  setp.eq.u32 %p, %lane, 0; BASE(0) "
                           f"@%p ld.global.b{bits} {letter}2, [%base]; @%p st.shared.b{bits} [s], {letter}2;\n"
                           "  bar.warp.sync -1;\n")
                copy_out = (f"  bar.warp.sync -1; BASE(0) @%p ld.shared.b{bits} {letter}2, [s]; "
                            f"@%p st.global.b{bits} [%base], {letter}2;")
            body = (f"{copy_in}  AT(1) ld.global.b{bits} {letter}1, [%at];\n  BASE(0)\n"
                    f"  atom.{space}.{name} {letter}3, {where}, {letter}1;\n"
                    f"  AT(2) st.global.b{bits} [%at], {letter}3;\n{copy_out}")
            run(body, [cell, data, old])
            value, seen = start, []
            for operand in data:  # the machine goes lane by lane
                seen.append(value)
                value = u(bits)(step(value, int(operand)))
            assert cell[0] == value and (old == seen).all(), (space, name, cell, value, old, seen)


def compare_and_swap():
    for bits, register in ((16, "%h"), (32, "%t"), (64, "%w")):
        cell, old = np.array([7], f"u{bits // 8}"), np.zeros(32, f"u{bits // 8}")
        run(f"  cvt.u{bits}.u32 {register}1, %lane; add.u{bits} {register}2, {register}1, 1;\n  BASE(0)\n"
            f"  atom.global.cas.b{bits} {register}3, [%base], {register}1, {register}2;\n"
            f"  AT(1) st.global.b{bits} [%at], {register}3;", [cell, old])
        assert cell[0] == 32 and (old == np.maximum(7, np.arange(32))).all(), (bits, cell, old)


def float_atomics():
    values = rng.integers(-20, 20, 32)
    for name, dtype, load in (("add.f32", np.float32, "b32 %t1"), ("add.f64", np.float64, "b64 %w1")):
        cell, data = np.array([2], dtype), values.astype(dtype)
        kind, register = load.split()
        typed = "%f1" if kind == "b32" else "%d1"
        run(f"  AT(1) ld.global.{kind} {register}, [%at]; mov.{kind} {typed}, {register};\n  BASE(0)\n"
            f"  red.global.{name} [%base], {typed};", [cell, data])
        assert cell[0] == 2 + values.sum(), name
    for two, to_bits in (("f16x2", f16_bits), ("bf16x2", lambda v: bf16(np.asarray(v)).astype(np.uint32))):
        low, high = values, values[::-1] * 2
        cell = np.array([to_bits([1])[0] | to_bits([3])[0] << 16], np.uint32)
        data = (to_bits(low) | to_bits(high) << 16).astype(np.uint32)
        old = np.zeros(32, np.uint32)
        run(f"  AT(1) ld.global.b32 %t1, [%at];\n  BASE(0)\n  atom.global.add.noftz.{two} %t2, [%base], %t1;\n"
            "  AT(2) st.global.b32 [%at], %t2;", [cell, data, old])
        assert cell[0] == to_bits([1 + low.sum()])[0] | to_bits([3 + high.sum()])[0] << 16, two
        one = two[:-2]
        cell, data = np.array([to_bits([4])[0]], np.uint16), to_bits(values).astype(np.uint16)
        run(f"  AT(1) ld.global.b16 %h1, [%at];\n  BASE(0)\n  atom.global.add.noftz.{one} %h2, [%base], %h1;", [cell, data])
        assert cell[0] == to_bits([4 + values.sum()])[0], one


def vector_atomics():
    values = rng.integers(-20, 20, (32, 4)).astype(np.float32)
    cell = np.arange(4, dtype=np.float32)
    run("  BASE(1) mad.wide.u32 %at, %lane, 16, %base; ld.global.v4.f32 {%f0, %f1, %f2, %f3}, [%at];\n  BASE(0)\n"
        "  red.global.v4.f32.add [%base], {%f0, %f1, %f2, %f3};", [cell, values])
    assert (cell == np.arange(4) + values.sum(0)).all()
    halves = rng.integers(-9, 9, (32, 8)).astype(np.float16)
    cell, old = np.arange(8).astype(np.float16), np.zeros((32, 8), np.float16)
    regs = "{%t0, %t1, %t2, %t3}"
    run(f"  BASE(1) mad.wide.u32 %at, %lane, 16, %base; ld.global.v4.b32 {regs}, [%at];\n  BASE(0)\n"
        f"  atom.global.v4.f16x2.add.noftz {{%t4, %t5, %t6, %t7}}, [%base], {regs};\n"
        "  BASE(2) mad.wide.u32 %at, %lane, 16, %base; st.global.v4.b32 [%at], {%t4, %t5, %t6, %t7};", [cell, halves, old])
    assert (cell == np.arange(8) + halves.sum(0)).all()
    assert (old == np.arange(8) + np.cumsum(halves, 0) - halves).all()


# ---------------------------------------------------------------------------------------------------------------------
# Between lanes, and control flow


def shuffles():
    data, lanes = rng.integers(0, 1 << 30, 32).astype(np.uint32), np.arange(32)
    for mode, amount, clamp in (("up", 3, 0), ("down", 5, 31), ("bfly", 6, 31), ("idx", 9, 31), ("up", 2, 0x1800),
                                ("down", 3, 0x181f), ("bfly", 4, 0x181f), ("idx", 5, 0x181f), ("down", 1, 15)):
        out, valid = np.zeros(32, np.uint32), np.zeros(32, np.uint32)
        run(f"  AT(0) ld.global.b32 %t0, [%at];\n  shfl.sync.{mode}.b32 %t1|%p, %t0, {amount}, {clamp}, -1;\n"
            "  selp.b32 %t2, 1, 0, %p; AT(1) st.global.b32 [%at], %t1; AT(2) st.global.b32 [%at], %t2;",
            [data, out, valid])
        segment, limit = clamp >> 8 & 31, clamp & 31
        top, low = (lanes & segment) | (limit & ~segment), lanes & segment
        source = {"up": lanes - amount, "down": lanes + amount, "bfly": lanes ^ amount,
                  "idx": low | (amount & ~segment)}[mode]
        ok = source >= top if mode == "up" else source <= top
        assert (valid == ok).all() and (out == data[np.where(ok, source, lanes)]).all(), (mode, amount, clamp)


def reductions():
    data = rng.integers(-1000, 1000, 32).astype(np.int32)
    bits = data.view(np.uint32)
    mask = 0x0f0ff0f3
    members = [k for k in range(32) if mask >> k & 1]
    for name, fold in (("add.s32", lambda v: np.int32(v.sum())), ("min.s32", np.min), ("max.s32", np.max),
                       ("min.u32", lambda v: v.view(np.uint32).min()), ("max.u32", lambda v: v.view(np.uint32).max()),
                       ("and.b32", np.bitwise_and.reduce), ("or.b32", np.bitwise_or.reduce),
                       ("xor.b32", np.bitwise_xor.reduce)):
        out = np.zeros(32, np.uint32)
        run(f"  AT(0) ld.global.b32 %t0, [%at];\n  mov.b32 %t2, {mask}; shr.u32 %t3, %t2, %lane; and.b32 %t3, %t3, 1;\n"
            f"  setp.eq.u32 %p, %t3, 1;\n  @%p redux.sync.{name} %t1, %t0, %t2;\n  AT(1) @%p st.global.b32 [%at], %t1;",
            [bits, out])
        want = int(fold(data[members])) & 0xffffffff
        assert all(out[k] == want for k in members) and out[2] == 0, (name, out, want)


def block_reductions():
    """bar.red over a named barrier: 96 threads."""
    data = rng.integers(0, 2, 96).astype(np.uint32)
    for name, want in (("popc.u32 %t1, 3, 96, %p", data.sum()), ("and.pred %q, 3, 96, %p", data.all()),
                       ("or.pred %q, 3, 96, !%p", not data.all())):
        out = np.zeros(96, np.uint32)
        take = "" if "popc" in name else "selp.b32 %t1, 1, 0, %q;"
        run(f"  AT(0) ld.global.b32 %t0, [%at]; setp.ne.u32 %p, %t0, 0;\n  barrier.red.{name};\n  {take} AT(1)"
            " st.global.b32 [%at], %t1;", [data, out], threads=96)
        assert (out == int(want)).all(), (name, out)


def producer_and_consumer():
    """bar.arrive: one warp writes and goes on, the other waits."""
    out = np.zeros(32, np.uint32)
    run("  .shared .align 4 .b8 s[128];\n  and.b32 %t0, %lane, 31; shl.b32 %t1, %t0, 2; mov.u32 %t2, s; add.u32 %t1, %t1, %t2;\n"
        "  setp.ge.u32 %p, %lane, 32; @%p bra READ;\n  st.shared.b32 [%t1], %lane; bar.arrive 1, 64; bra DONE;\n"
        "READ:\n  bar.sync 1, 64; ld.shared.b32 %t3, [%t1]; BASE(0) mad.wide.u32 %at, %t0, 4, %base;\n"
        "  st.global.b32 [%at], %t3;\nDONE:", [out], threads=64)
    assert (out == np.arange(32)).all()


def branch_table():
    out = np.zeros(32, np.uint32)
    run("  and.b32 %t0, %lane, 3; mov.b32 %t1, 0;\n  ts: .branchtargets A, B, C, A;\n  brx.idx %t0, ts;\n"
        "A: add.u32 %t1, %t1, 10; bra END;\nB: add.u32 %t1, %t1, 20; bra END;\nC: add.u32 %t1, %t1, 30;\n"
        "END: AT(0) st.global.b32 [%at], %t1;", [out])
    assert (out == np.array([10, 20, 30, 10] * 8)).all(), out


def indirect_calls():
    functions = "".join(f".func (.param .b32 r) {n}(.param .b32 x) {{\n  .reg .b32 %a; ld.param.b32 %a, [x]; {op} %a, %a, 7;\n"
                        "  st.param.b32 [r], %a; ret;\n}\n" for n, op in (("plus", "add.u32"), ("times", "mul.lo.u32")))
    table = ".global .align 8 .u64 table[2] = {plus, times};\n"
    out = np.zeros(32, np.uint32)
    run("  and.b32 %t0, %lane, 1; mov.u64 %w0, table; mad.wide.u32 %w0, %t0, 8, %w0; ld.global.u64 %w1, [%w0];\n"
        "  {\n  .param .b32 r; .param .b32 x; st.param.b32 [x], %lane;\n"
        "  proto: .callprototype (.param .b32 _) _ (.param .b32 _);\n  call (r), %w1, (x), proto;\n"
        "  ld.param.b32 %t1, [r];\n  }\n  AT(0) st.global.b32 [%at], %t1;", [out], extra=functions + table)
    lanes = np.arange(32)
    assert (out == np.where(lanes % 2, lanes * 7, lanes + 7)).all(), out


def elections():
    out = np.zeros((2, 32), np.uint32)
    run("  setp.lt.u32 %p, %lane, 20; mov.b32 %t1, 99; mov.b32 %t2, 99;\n  @!%p bra REST;\n  elect.sync %t1|%q, 0xfffff;\n"
        "  activemask.b32 %t2;\nREST: AT(0) st.global.b32 [%at], %t1; st.global.b32 [%at+128], %t2;", [out])
    assert (out[0, :20] == 0).all() and (out[1, :20] == 0xfffff).all() and (out[:, 20:] == 99).all(), out


for test in (multiply_accumulate, integer_saturation, matrix_transfers, atomics, compare_and_swap, float_atomics,
             vector_atomics, shuffles, reductions, block_reductions, producer_and_consumer, branch_table, indirect_calls,
             elections):
    test()
    assert machine.findings() == 0, test.__name__
    print("ok", test.__name__)

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every arithmetic and conversion instruction on special and random operands, against exact arithmetic on the host.

usage: arithmetic.py LIBRARY [GROUP...]

One kernel per instruction form; each thread takes one tuple of operands. Prints one line per group, and for every
form that differs its first operands, the machine's result and the reference's.
"""

import sys

import numpy as np

import forms
from vmdriver import Machine

THREADS = 128
LOAD = {1: "u8", 2: "b16", 4: "b32", 8: "b64"}
REGISTER = {1: "b16", 2: "b16", 4: "b32", 8: "b64"}


def kernel(index, form):
    """PTX of one form: out[i] = form(in0[i], in1[i], ...)."""
    lines, params = [], []
    names = "abcd"[:len(form.inputs)]
    for k, (name, size) in enumerate(zip(names, form.inputs)):
        params.append(f".param .u64 in{k}")
        kind = "s8" if size == -1 else LOAD[size]
        lines += [f"  .reg .{REGISTER[abs(size)]} %{name};", f"  ld.param.u64 %base, [in{k}];",
                  f"  mad.wide.u32 %address, %i, {abs(size)}, %base;", f"  ld.global.{kind} %{name}, [%address];"]
    lines += [f"  .reg .{REGISTER[form.output]} %y;", "  " + form.body, "  ld.param.u64 %base, [out];",
              f"  mad.wide.u32 %address, %i, {form.output}, %base;",
              f"  st.global.{LOAD[form.output]} [%address], %y;"]
    head = f".visible .entry k{index}({', '.join(params)}, .param .u64 out) {{\n"
    return (head + "  .reg .b32 %i, %j, %t0, %t1, %t2, %t3; .reg .b64 %base, %address, %w0, %w1; .reg .b16 %h0, %h1;\n"
            "  .reg .pred %p, %q;\n  mov.u32 %i, %ctaid.x; mov.u32 %j, %tid.x;\n"
            f"  mad.lo.u32 %i, %i, {THREADS}, %j;\n" + "\n".join(lines) + "\n  ret;\n}\n")


def columns(form, rng):
    rows = form.operands(rng)
    count = (len(rows) + THREADS - 1) // THREADS * THREADS
    rows = rows + [rows[-1]] * (count - len(rows))
    types = [np.dtype(f"u{abs(size)}") for size in form.inputs]
    return rows, [np.array([row[k] for row in rows], dtype=t) for k, t in enumerate(types)]


def check(machine, function, form, rng):
    """The first difference as text, or None."""
    rows, arrays = columns(form, rng)
    out = np.zeros(len(rows), dtype=f"u{form.output}")
    machine.launch(function, len(rows) // THREADS, THREADS, [*arrays, out])
    for row, got in zip(rows, out.tolist()):
        problem = form.compare(row, got)
        if problem:
            return f"{form.body} [{', '.join(map(hex, row))}]: {problem}"
    return None


def main():
    machine = Machine(sys.argv[1])
    wanted, failed = sys.argv[2:], 0
    for group, members in forms.groups().items():
        if wanted and group not in wanted:
            continue
        text = ".version 8.6\n.target sm_90\n.address_size 64\n" + "".join(
            kernel(k, form) for k, form in enumerate(members))
        module, rng, bad = machine.load(text), np.random.default_rng(1), []
        for k, form in enumerate(members):
            problem = check(machine, machine.function(module, f"k{k}"), form, rng)
            if problem:
                bad.append(problem)
        print(f"{group}: {len(members)} forms, {len(bad)} differ", *bad[:40], sep="\n  ")
        failed += len(bad)
    if machine.findings():
        print("the checks found something")
        failed += 1
    sys.exit(1 if failed else 0)


main()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where the PTX machine places a module's variables, and that an unloaded module leaves nothing behind."""

import ctypes
import os
import sys

from vmdriver import Machine

ALIGNMENTS = {"odd": 1, "word": 4, "big": 16, "half": 256, "span": 512, "far": 2048}
TEXT = """.version 8.0
.target sm_80
.address_size 64
.global .b8 odd[3] = {1, 2, 3};
.global .align 4 .b8 word[6] = {1, 2, 3};
.const .align 16 .b8 big[1000000] = {1, 2, 3};
.global .align 256 .b8 half[600] = {1, 2, 3};
.global .align 512 .b8 span[512] = {1, 2, 3};
.global .align 2048 .b8 far[16] = {1, 2, 3};
"""


def place(machine, module, name):
    address, size = ctypes.c_uint64(), ctypes.c_size_t()
    machine.check(machine.cu.cuModuleGetGlobal_v2(ctypes.byref(address), ctypes.byref(size), module, name.encode()))
    data = (ctypes.c_uint8 * size.value)()
    machine.check(machine.cu.cuMemcpyDtoH_v2(data, address, size))
    assert bytes(data) == b"\1\2\3" + bytes(size.value - 3), name
    return address.value


def available(machine):
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    machine.check(machine.cu.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)))
    return free.value


os.environ["NAG_PTXVM_MEMORY_MB"] = "4"
machine = Machine(sys.argv[1])
before = available(machine)
for _ in range(6):  # three modules fit
    modules = [machine.load(TEXT) for _ in range(3)]
    for module in modules:
        for name, align in ALIGNMENTS.items():
            address = place(machine, module, name)
            assert address % align == 0 and address % (2 * align), (name, hex(address))
    for module in modules[1:] + modules[:1]:
        machine.check(machine.cu.cuModuleUnload(module))
    assert available(machine) == before
print("placed")

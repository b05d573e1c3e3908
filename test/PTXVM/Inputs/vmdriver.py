# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The PTX machine's driver library from Python: load PTX text, launch kernels on numpy arrays."""

import ctypes
import os

import numpy as np


class Machine:
    def __init__(self, library):
        os.environ.setdefault("NAG_PTXVM_THREADS", "1")
        self.cu = ctypes.CDLL(library)
        context = ctypes.c_void_p()
        self.check(self.cu.cuInit(0))
        self.check(self.cu.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
        self.check(self.cu.cuCtxSetCurrent(context))
        self.cu.nagPtxvmLastMessage.restype = ctypes.c_char_p
        self.cu.nagPtxvmFindingCount.restype = ctypes.c_size_t

    def check(self, code):
        if code:
            name = ctypes.c_char_p()
            self.cu.cuGetErrorName(code, ctypes.byref(name))
            message = self.cu.nagPtxvmLastMessage if code >= 200 else None
            if message:
                message.restype = ctypes.c_char_p
            raise RuntimeError(f"{(name.value or b'?').decode()}: {message().decode() if message else ''}")

    def load(self, text):
        module = ctypes.c_void_p()
        self.check(self.cu.cuModuleLoadData(ctypes.byref(module), text.encode()))
        return module

    def function(self, module, name):
        function = ctypes.c_void_p()
        self.check(self.cu.cuModuleGetFunction(ctypes.byref(function), module, name.encode()))
        return function

    def findings(self):
        return self.cu.nagPtxvmFindingCount()

    def launch(self, function, grid, block, arguments, shared=0):
        """Arrays are copied in and back; the rest are ctypes or numpy scalars."""
        addresses, params = [], []
        for value in arguments:
            if isinstance(value, np.ndarray):
                address = ctypes.c_uint64()
                self.check(self.cu.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(max(value.nbytes, 1))))
                self.check(self.cu.cuMemcpyHtoD_v2(address, value.ctypes.data_as(ctypes.c_void_p),
                                                   ctypes.c_size_t(value.nbytes)))
                addresses.append((address, value))
                params.append(address)
            else:
                params.append(value if not isinstance(value, np.generic) else np.ctypeslib.as_ctypes(np.array(value)))
        pointers = (ctypes.c_void_p * max(len(params), 1))(
            *[ctypes.cast(ctypes.pointer(p), ctypes.c_void_p) for p in params])
        self.check(self.cu.cuLaunchKernel(function, grid, 1, 1, block, 1, 1, shared, None, pointers, None))
        for address, value in addresses:
            self.check(self.cu.cuMemcpyDtoH_v2(value.ctypes.data_as(ctypes.c_void_p), address,
                                               ctypes.c_size_t(value.nbytes)))
            self.check(self.cu.cuMemFree_v2(address))

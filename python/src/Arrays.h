// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Arrays of other libraries (numpy, DLPack) as buffers of a program, and back,
// without copies.
#ifndef NAG_PYTHON_ARRAYS_H
#define NAG_PYTHON_ARRAYS_H

#include "State.h"

#include <nanobind/ndarray.h>

namespace nag::python {

/// An array that may be read; while it lives, so does its memory.
using AnyArray = nanobind::ndarray<nanobind::ro>;

/// An array as the buffer of an argument. Raises ArgumentError, beginning with
/// `where`, unless it is a dense row-major array of the argument's type and
/// shape on the program's device, and writable where the program writes.
AnyArray getArray(const ProgramState &state, const runtime::TensorInfo &info,
                  nanobind::handle value, const std::string &where);

/// An array of a new buffer on the program's device.
nanobind::object allocateArray(const std::shared_ptr<ProgramState> &state,
                               const runtime::TensorInfo &info, bool zeroed);

/// A copy of a host array on the program's device, and a numpy copy of an array
/// of the program's device. Raise ArgumentError on arrays that are elsewhere.
nanobind::object toDevice(const std::shared_ptr<ProgramState> &state,
                          nanobind::handle value);
nanobind::object toHost(const std::shared_ptr<ProgramState> &state,
                        nanobind::handle value);

/// An array of memory that `owner` keeps alive: numpy's on the host where numpy
/// has the type, else one that only speaks DLPack.
nanobind::object viewArray(const ProgramState &state,
                           const runtime::TensorInfo &info, void *data,
                           nanobind::handle owner);

} // namespace nag::python

#endif // NAG_PYTHON_ARRAYS_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag._core: the compiler and its runtime; the package nag wraps it.
#include "Program.h"

NB_MODULE(_core, module) {
  // Programs that caches hold at the end are no leak.
  nanobind::set_leak_warnings(false);
  module.doc() = "The compiler and its runtime; the package nag wraps it.";
  module.attr("__version__") = NAG_VERSION;
  nag::python::bindModel(module);
  nag::python::bindProgram(module);
  nag::python::bindWeights(module);
  nag::python::bindTraining(module);
  nag::python::bindGeneration(module);
}

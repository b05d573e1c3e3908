// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_CONVERSION_PASSES_TD
#define NAG_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

#endif // NAG_CONVERSION_PASSES_TD

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The subcommands that exchange weights with other programs.
#ifndef NAG_TOOLS_NAGC_EXCHANGE_H
#define NAG_TOOLS_NAGC_EXCHANGE_H

#include "Commands.h"

namespace nag::tool {

Command getExportCommand();
Command getImportCommand();

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_EXCHANGE_H

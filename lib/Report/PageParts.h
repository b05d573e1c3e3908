// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The files of Page/ as text; the build makes PageParts.cpp from them.
#ifndef NAG_LIB_REPORT_PAGEPARTS_H
#define NAG_LIB_REPORT_PAGEPARTS_H

namespace nag::report {
extern const char kPageStyle[], kPageCharts[], kPageReport[], kPageProfile[];
} // namespace nag::report

#endif // NAG_LIB_REPORT_PAGEPARTS_H

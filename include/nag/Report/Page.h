// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Pictures of training runs as one HTML page.
#ifndef NAG_REPORT_PAGE_H
#define NAG_REPORT_PAGE_H

#include "nag/Report/RunLog.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/raw_ostream.h"

namespace nag::report {

/// {"runs": [{"name", "path", "config", "numbers": {metric: {"steps",
/// "values"}}, "lists": {metric: {"steps", "rows"}}}]}, thinned to what a
/// picture can show. Missing values are null.
llvm::json::Value toJSON(llvm::ArrayRef<RunLog> runs);

/// Writes a page that needs nothing else: style, program and data are in it.
/// Curves of several runs share their axes.
void writePage(llvm::ArrayRef<RunLog> runs, llvm::StringRef title,
               llvm::raw_ostream &os);

} // namespace nag::report

#endif // NAG_REPORT_PAGE_H

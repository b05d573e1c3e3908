// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The subcommands of nagc, one file each, and what they share.
#ifndef NAG_TOOLS_NAGC_COMMANDS_H
#define NAG_TOOLS_NAGC_COMMANDS_H

#include "nag/Driver/Diagnostics.h"
#include "nag/Driver/Model.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <deque>

namespace nag::tool {

/// Exit codes: done, failed, wrong use.
enum ExitCode { kDone = 0, kFailed = 1, kWrongUse = 2 };

/// An error in how the command line was used.
class UsageError : public llvm::ErrorInfo<UsageError> {
public:
  static char ID;
  explicit UsageError(const llvm::Twine &text) : message(text.str()) {}
  void log(llvm::raw_ostream &os) const override { os << message; }
  std::error_code convertToErrorCode() const override {
    return llvm::inconvertibleErrorCode();
  }

private:
  std::string message;
};

/// A subcommand: its options and what it does. `run` yields the exit code.
struct Command {
  llvm::cl::SubCommand &options;
  llvm::Expected<int> (*run)();
};

Command getCalibrateCommand();
Command getCompileCommand();
Command getEvalCommand();
Command getFlopsCommand();
Command getGenerateCommand();
Command getModelCommand();
Command getProfileCommand();
Command getReportCommand();
Command getRunCommand();
Command getTrainCommand();
Command getTuneCommand();

/// Numbers of the command line. LLVM's own parser takes no text at all for 0.
class NumberParser : public llvm::cl::parser<double> {
public:
  using parser::parser;
  bool parse(llvm::cl::Option &option, llvm::StringRef name,
             llvm::StringRef text, double &value) {
    if (text.empty())
      return option.error("'' value invalid for floating point argument!");
    return parser::parse(option, name, text, value);
  }
};
using NumberOption = llvm::cl::opt<double, false, NumberParser>;
using NumberListOption = llvm::cl::list<double, bool, NumberParser>;

/// A description of an option that ends in its default.
template <typename T>
llvm::cl::desc describe(llvm::StringRef text, const T &value) {
  // cl::desc keeps a reference.
  static std::deque<std::string> texts;
  llvm::raw_string_ostream os(texts.emplace_back());
  os << text << " (default: ";
  if constexpr (std::is_floating_point_v<T>)
    os << llvm::format("%g", value);
  else
    os << value;
  os << ')';
  return llvm::cl::desc(texts.back());
}

/// Writes a file so that it appears whole or not at all; "-" is the standard
/// output, and devices and pipes are written as they are.
llvm::Error writeFile(llvm::StringRef path,
                      llvm::function_ref<void(llvm::raw_ostream &)> write);

using driver::DiagnosticCollector;
using driver::readModule;
using driver::registerDialects;

} // namespace nag::tool

#endif // NAG_TOOLS_NAGC_COMMANDS_H

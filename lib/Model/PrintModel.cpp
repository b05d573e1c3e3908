// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Model/Build.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace llvm;

static constexpr size_t kMaxColumns = 120;

/// How good a place to break MLIR text the space at `i` is: before a value in a
/// list or a type, after a comma, elsewhere.
static unsigned rankBreak(StringRef line, size_t i) {
  StringRef rest = line.drop_front(i);
  bool afterComma = line[i - 1] == ',';
  bool beforeTypes = rest.starts_with(" -> ") || rest.starts_with(" : (") ||
                     rest.starts_with(" : !") || rest.starts_with(" : tensor");
  if (beforeTypes || (afterComma && rest.starts_with(" %")))
    return 3;
  return afterComma ? 2 : 1;
}

/// The last of the best places at or before `limit` to break a line: a space
/// outside of strings; npos if there is none.
static size_t findBreak(StringRef line, size_t limit) {
  size_t best = StringRef::npos;
  unsigned bestRank = 1;
  bool inString = false;
  size_t begin = line.find_first_not_of(' ');
  for (size_t i = begin, e = std::min(limit, line.size()); i < e; ++i) {
    if (line[i] == '"' && (i == 0 || line[i - 1] != '\\'))
      inString = !inString;
    if (line[i] != ' ' || inString || rankBreak(line, i) < bestRank)
      continue;
    best = i;
    bestRank = rankBreak(line, i);
  }
  return best;
}

static void printWrapped(StringRef line, raw_ostream &os) {
  size_t indent = line.size() - line.ltrim(' ').size() + 4;
  std::string rest = line.str();
  while (rest.size() > kMaxColumns) {
    size_t at = findBreak(rest, kMaxColumns);
    if (at == StringRef::npos)
      break;
    os << StringRef(rest).take_front(at) << '\n';
    rest = std::string(indent, ' ') + StringRef(rest).drop_front(at + 1).str();
  }
  os << rest << '\n';
}

void nag::model::printModel(ModuleOp module, raw_ostream &os) {
  std::string text;
  raw_string_ostream stream(text);
  OpPrintingFlags flags;
  flags.printNameLocAsPrefix();
  module->print(stream, flags);
  for (StringRef line : split(StringRef(text).rtrim('\n'), '\n'))
    printWrapped(line, os);
}

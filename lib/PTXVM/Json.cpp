// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Findings and counters as JSON.
#include "nag/PTXVM/Launch.h"

#include <cstdio>

namespace ptxvm {
namespace {

std::string array(Dim3 dim) {
  return "[" + std::to_string(dim.x) + ", " + std::to_string(dim.y) + ", " +
         std::to_string(dim.z) + "]";
}

std::string member(std::string_view name, uint64_t value) {
  return "\"" + std::string(name) + "\": " + std::to_string(value);
}

} // namespace

std::string jsonText(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", c);
      result += escape;
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string Finding::json() const {
  return "{\"kind\": " + jsonText(nameOf(kind)) +
         ", \"kernel\": " + jsonText(kernel) + ", " + member("line", line) +
         ", \"block\": " + array(block) + ", \"thread\": " + array(thread) +
         ", " + member("address", address) +
         ", \"message\": " + jsonText(message) + ", " + member("count", count) +
         "}";
}

std::string Counters::jsonMembers() const {
  std::string result;
  for (const auto &[name, value] : listCounters(*this))
    result += member(name, value) + ", ";
  result += "\"warp_instructions_by_class\": {";
  for (size_t k = 0; k < warpInstructionsByClass.size(); ++k)
    result += (k ? ", " : "") + member(nameOf(static_cast<InstructionClass>(k)),
                                       warpInstructionsByClass[k]);
  return result + "}";
}

} // namespace ptxvm

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Kernel arguments from the command line: scalars, generated arrays, .npy
// files.
#ifndef PTX_VM_ARRAYS_H
#define PTX_VM_ARRAYS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ptxvm_tool {

struct ElementType {
  llvm::StringRef name; // f32
  unsigned size;
  char kind;             // 'f' IEEE, 'b' bf16, 's' signed, 'u' unsigned
  llvm::StringRef numpy; // <f4; bf16 is stored as <u2
};

/// One --arg. Arrays keep their element count; scalars have none.
struct Argument {
  const ElementType *type = nullptr;
  bool isArray = false, isNull = false;
  bool isInitialized = true; // false: allocate, write nothing
  bool isFreed = false;      // release before the launch
  uint64_t count = 1;
  std::vector<uint8_t> bytes;
  uint64_t address = 0;
};

/// TYPE:VALUE, TYPE[COUNT]:GENERATOR, npy:FILE or null. Generators: zero, iota,
/// random[=SEED], fill=VALUE, uninit, freed, or values separated by commas.
llvm::Expected<Argument> parseArgument(llvm::StringRef text);

/// Element `index` as text that reads back exactly.
std::string formatElement(const ElementType &type,
                          const std::vector<uint8_t> &bytes, uint64_t index);

llvm::Error writeNumpy(llvm::StringRef path, const ElementType &type,
                       const std::vector<uint8_t> &bytes);

} // namespace ptxvm_tool

#endif // PTX_VM_ARRAYS_H

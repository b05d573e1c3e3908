// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The buffers that go with a program's parameters: weights, gradients, moments.
#ifndef NAG_RUNTIME_PARAMETERS_H
#define NAG_RUNTIME_PARAMETERS_H

#include "nag/Runtime/Program.h"
#include "nag/Runtime/Safetensors.h"
#include "llvm/ADT/StringMap.h"
#include <string>
#include <vector>

namespace nag::runtime {

/// One buffer per parameter of a program. The prefix says which: "" for the
/// parameters themselves, "grad:", "m:", "v:", "acc:" for what goes with them.
class ParameterBuffers {
public:
  /// Allocates the buffers. Types and shapes are those of the program's
  /// arguments of these names, else the parameters' own.
  static llvm::Expected<ParameterBuffers>
  create(Program &program, llvm::StringRef prefix, bool zeroed);

  /// The buffer of a parameter, by the name without prefix; null when there is
  /// no such parameter.
  void *lookup(llvm::StringRef parameter) const;
  llvm::StringRef prefix() const { return namePrefix; }
  /// Bytes of all buffers.
  size_t getByteSize() const;

  /// Fills every buffer by its ParameterInfo::init. Element i of a parameter is
  /// number i of the RandomStream (seed, "init", name).
  llvm::Error initialize(uint64_t seed);

  /// Copies the values of other buffers of the same parameters and types, on
  /// the same device. Fails where a parameter differs.
  llvm::Error copyFrom(const ParameterBuffers &other);

  /// Appends what writes these buffers to a file: "{layer}" stacks as one
  /// tensor per layer, names with the prefix in front.
  void appendSources(std::vector<SafetensorsSource> &sources) const;
  /// Reads what appendSources wrote. Fails, naming file and tensor, where one
  /// is missing or has another type or shape.
  llvm::Error load(const SafetensorsFile &file);

private:
  struct Entry {
    ParameterInfo info;
    Buffer buffer;
  };
  struct Slice {
    std::string name;
    std::vector<int64_t> shape;
    void *data;
    size_t bytes;
  };
  std::vector<Slice> getSlices(const Entry &entry) const;

  Device *device = nullptr;
  std::string namePrefix;
  std::vector<Entry> entries;
  llvm::StringMap<size_t> indexOfName;
};

/// "transformer.h.{layer}.x" and 3 give "transformer.h.3.x".
std::string getLayerName(llvm::StringRef name, int64_t layer);

/// Fails when the file holds a tensor that is neither a parameter of the
/// program nor, behind one of `prefixes`, goes with one. The thresholds of
/// depth routing (Routing.h) are never foreign.
llvm::Error checkNoForeignTensors(const SafetensorsFile &file,
                                  const Program &program,
                                  llvm::ArrayRef<llvm::StringRef> prefixes);

} // namespace nag::runtime

#endif // NAG_RUNTIME_PARAMETERS_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The safetensors format (https://github.com/huggingface/safetensors): eight
// bytes, little-endian: the length of a JSON header; the header: {"name":
// {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {string:
// string}}; the data, which the offsets cover without gap or overlap.
#ifndef NAG_RUNTIME_SAFETENSORS_H
#define NAG_RUNTIME_SAFETENSORS_H

#include "nag/Runtime/Files.h"
#include "nag/Runtime/Program.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nag::runtime {

/// One tensor of a file; `data` points into the file's mapping.
struct SafetensorsEntry {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  llvm::ArrayRef<uint8_t> data;
};

/// A file, mapped and fully validated: header, types, offsets, sizes.
class SafetensorsFile {
public:
  static llvm::Expected<SafetensorsFile> open(llvm::StringRef path);

  llvm::StringRef path() const { return filePath; }
  /// The tensor of that name, or null.
  const SafetensorsEntry *lookup(llvm::StringRef name) const;
  /// All tensors, by name.
  const std::map<std::string, SafetensorsEntry> &entries() const {
    return tensors;
  }
  /// The metadata string of that name, or null.
  const std::string *metadata(llvm::StringRef name) const;
  const llvm::StringMap<std::string> &allMetadata() const { return strings; }

private:
  llvm::Error parse();
  llvm::Error parseHeader(const llvm::json::Object &header,
                          llvm::ArrayRef<uint8_t> data);
  llvm::Error parseMetadata(const llvm::json::Value &value);
  llvm::Error parseEntry(llvm::StringRef name, const llvm::json::Value &value,
                         llvm::ArrayRef<uint8_t> data);
  llvm::Error checkCover(llvm::ArrayRef<uint8_t> data) const;
  template <typename... Args>
  llvm::Error error(const char *format, Args &&...arguments) const;

  std::string filePath;
  MappedFile file;
  std::map<std::string, SafetensorsEntry> tensors;
  llvm::StringMap<std::string> strings;
};

/// One tensor to write. `read` is called once, in order, when its bytes are
/// due; what it returns must live until the next call.
struct SafetensorsSource {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::function<llvm::Expected<const void *>()> read;
};

/// Writes a file atomically (AtomicFile); an earlier file of that name stays
/// whole when this fails. Names must be distinct.
llvm::Error
writeSafetensors(llvm::StringRef path,
                 llvm::ArrayRef<SafetensorsSource> tensors,
                 const std::map<std::string, std::string> &metadata);

} // namespace nag::runtime

#endif // NAG_RUNTIME_SAFETENSORS_H

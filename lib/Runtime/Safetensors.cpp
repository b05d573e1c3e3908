// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Safetensors.h"
#include "nag/Runtime/Errors.h"
#include "nag/Support/Json.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Endian.h"
#include <limits>

using namespace nag::runtime;
namespace json = llvm::json;

static constexpr size_t lengthBytes = sizeof(uint64_t);
/// The format's own limit on headers.
static constexpr uint64_t maxHeaderBytes = 100'000'000;
static constexpr llvm::StringLiteral metadataKey = "__metadata__";

template <typename... Args>
llvm::Error SafetensorsFile::error(const char *format,
                                   Args &&...arguments) const {
  return makeError("{0}: {1}", filePath,
                   llvm::formatv(format, std::forward<Args>(arguments)...));
}

llvm::Expected<SafetensorsFile> SafetensorsFile::open(llvm::StringRef path) {
  llvm::Expected<MappedFile> mapped = MappedFile::open(path);
  if (!mapped)
    return mapped.takeError();
  SafetensorsFile result;
  result.filePath = path.str();
  result.file = std::move(*mapped);
  if (llvm::Error failure = result.parse())
    return failure;
  return result;
}

const SafetensorsEntry *SafetensorsFile::lookup(llvm::StringRef name) const {
  auto found = tensors.find(name.str());
  return found == tensors.end() ? nullptr : &found->second;
}

const std::string *SafetensorsFile::metadata(llvm::StringRef name) const {
  auto found = strings.find(name);
  return found == strings.end() ? nullptr : &found->second;
}

llvm::Error SafetensorsFile::parse() {
  llvm::ArrayRef<uint8_t> bytes = file.bytes();
  if (bytes.size() < lengthBytes)
    return error("expected a safetensors file of at least {0} bytes, but got "
                 "{1} bytes",
                 lengthBytes, bytes.size());
  uint64_t length = llvm::support::endian::read64le(bytes.data());
  uint64_t available = bytes.size() - lengthBytes;
  if (length > maxHeaderBytes)
    return error("expected a safetensors header of at most {0} bytes, but got "
                 "a length field of {1}",
                 maxHeaderBytes, length);
  if (length > available)
    return error("truncated: expected a header of {0} bytes, but got {1}",
                 length, available);
  llvm::StringRef text(
      reinterpret_cast<const char *>(bytes.data()) + lengthBytes, length);
  std::optional<json::Object> header = parseJsonObject(text);
  if (!header)
    return error("expected the safetensors header to be a JSON object");
  return parseHeader(*header, bytes.drop_front(lengthBytes + length));
}

llvm::Error SafetensorsFile::parseHeader(const json::Object &header,
                                         llvm::ArrayRef<uint8_t> data) {
  for (const auto &[key, value] : header)
    if (llvm::Error failure = llvm::StringRef(key) == metadataKey
                                  ? parseMetadata(value)
                                  : parseEntry(key, value, data))
      return failure;
  return checkCover(data);
}

llvm::Error SafetensorsFile::parseMetadata(const json::Value &value) {
  const json::Object *object = value.getAsObject();
  if (!object)
    return error("{0}: expected an object of strings", metadataKey);
  for (const auto &[key, entry] : *object) {
    std::optional<llvm::StringRef> text = entry.getAsString();
    if (!text)
      return error("{0}: field '{1}': expected a string", metadataKey,
                   key.str());
    strings[key.str()] = text->str();
  }
  return llvm::Error::success();
}

/// Bytes of a tensor, or nothing when a size is negative or too large.
static std::optional<uint64_t> countBytes(DType dtype,
                                          llvm::ArrayRef<int64_t> shape) {
  uint64_t bytes = getByteSize(dtype);
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, uint64_t(size), &bytes))
      return std::nullopt;
  return bytes;
}

static std::optional<std::vector<int64_t>>
parseIntegers(const json::Array *array) {
  if (!array)
    return std::nullopt;
  std::vector<int64_t> values;
  for (const json::Value &element : *array) {
    std::optional<int64_t> value = element.getAsInteger();
    if (!value)
      return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

llvm::Error SafetensorsFile::parseEntry(llvm::StringRef name,
                                        const json::Value &value,
                                        llvm::ArrayRef<uint8_t> data) {
  const json::Object *object = value.getAsObject();
  if (!object)
    return error("tensor '{0}': expected an object", name);
  std::optional<llvm::StringRef> type = object->getString("dtype");
  std::optional<DType> dtype =
      type ? parseSafetensorsDType(*type) : std::nullopt;
  if (!dtype)
    return error("tensor '{0}': field 'dtype': expected a known type, but got "
                 "'{1}'",
                 name, type.value_or(""));
  auto shape = parseIntegers(object->getArray("shape"));
  std::optional<uint64_t> bytes =
      shape ? countBytes(*dtype, *shape) : std::nullopt;
  if (!bytes)
    return error("tensor '{0}': field 'shape': expected sizes of at least 0",
                 name);
  auto offsets = parseIntegers(object->getArray("data_offsets"));
  if (!offsets || offsets->size() != 2 || (*offsets)[0] < 0 ||
      (*offsets)[1] < (*offsets)[0])
    return error("tensor '{0}': field 'data_offsets': expected [begin, end]",
                 name);
  uint64_t begin = (*offsets)[0], end = (*offsets)[1];
  if (end > data.size())
    return error("truncated: tensor '{0}' ends at byte {1} of the data, but "
                 "the file holds {2}",
                 name, end, data.size());
  if (end - begin != *bytes)
    return error("tensor '{0}': expected {1} bytes for {2}, but got {3}", name,
                 *bytes, formatType(*dtype, *shape), end - begin);
  tensors[name.str()] = {*dtype, std::move(*shape),
                         data.slice(begin, end - begin)};
  return llvm::Error::success();
}

llvm::Error SafetensorsFile::checkCover(llvm::ArrayRef<uint8_t> data) const {
  std::vector<const SafetensorsEntry *> sorted;
  for (const auto &[name, entry] : tensors)
    sorted.push_back(&entry);
  llvm::sort(sorted, [](const auto *a, const auto *b) {
    return std::pair(a->data.begin(), a->data.size()) <
           std::pair(b->data.begin(), b->data.size());
  });
  const uint8_t *next = data.begin();
  for (const SafetensorsEntry *entry : sorted) {
    if (entry->data.begin() != next)
      return error("expected tensor data without gap or overlap at byte {0} of "
                   "the data",
                   std::min(next, entry->data.begin()) - data.begin());
    next = entry->data.end();
  }
  if (next != data.end())
    return error("expected {0} bytes of tensor data, but got {1}",
                 next - data.begin(), data.size());
  return llvm::Error::success();
}

//===- Writing ------------------------------------------------------------===//

static std::string
formatHeader(llvm::ArrayRef<SafetensorsSource> tensors,
             const std::map<std::string, std::string> &metadata) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  json::OStream out(stream);
  out.object([&] {
    out.attributeObject(metadataKey, [&] {
      for (const auto &[key, value] : metadata)
        out.attribute(key, value);
    });
    int64_t offset = 0;
    for (const SafetensorsSource &tensor : tensors) {
      int64_t bytes = getNumElements(tensor.shape) * getByteSize(tensor.dtype);
      out.attributeObject(tensor.name, [&] {
        out.attribute("dtype", getSafetensorsName(tensor.dtype));
        out.attribute("shape", json::Array(tensor.shape));
        out.attribute("data_offsets", json::Array({offset, offset + bytes}));
      });
      offset += bytes;
    }
  });
  // Readers that map the file then find tensors aligned.
  constexpr size_t alignment = 64;
  size_t total = lengthBytes + text.size();
  text.append((alignment - total % alignment) % alignment, ' ');
  return text;
}

llvm::Error nag::runtime::writeSafetensors(
    llvm::StringRef path, llvm::ArrayRef<SafetensorsSource> tensors,
    const std::map<std::string, std::string> &metadata) {
  llvm::Expected<AtomicFile> file = AtomicFile::create(path);
  if (!file)
    return file.takeError();
  std::string header = formatHeader(tensors, metadata);
  char length[lengthBytes];
  llvm::support::endian::write64le(length, header.size());
  if (llvm::Error failure = file->write(length, lengthBytes))
    return failure;
  if (llvm::Error failure = file->write(header))
    return failure;
  for (const SafetensorsSource &tensor : tensors) {
    llvm::Expected<const void *> data = tensor.read();
    if (!data)
      return data.takeError();
    size_t bytes = getNumElements(tensor.shape) * getByteSize(tensor.dtype);
    if (llvm::Error failure = file->write(*data, bytes))
      return failure;
  }
  return file->commit();
}

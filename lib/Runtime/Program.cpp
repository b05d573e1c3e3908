// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Program.h"
#include "nag/Runtime/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace nag::runtime;

namespace {
struct DTypeEntry {
  DType dtype;
  size_t bytes;
  llvm::StringRef name;
  llvm::StringRef safetensorsName;
};

/// In the order of the enumeration.
constexpr DTypeEntry dtypes[] = {
    {DType::F64, 8, "f64", "F64"},  {DType::F32, 4, "f32", "F32"},
    {DType::F16, 2, "f16", "F16"},  {DType::BF16, 2, "bf16", "BF16"},
    {DType::I64, 8, "i64", "I64"},  {DType::I32, 4, "i32", "I32"},
    {DType::I16, 2, "i16", "I16"},  {DType::I8, 1, "i8", "I8"},
    {DType::U16, 2, "ui16", "U16"}, {DType::U8, 1, "ui8", "U8"},
    {DType::Bool, 1, "i1", "BOOL"},
};

const DTypeEntry &getEntry(DType dtype) {
  return dtypes[static_cast<size_t>(dtype)];
}

template <typename Field>
std::optional<DType> find(Field DTypeEntry::*field, llvm::StringRef name) {
  for (const DTypeEntry &entry : dtypes)
    if (entry.*field == name)
      return entry.dtype;
  return std::nullopt;
}
} // namespace

size_t nag::runtime::getByteSize(DType dtype) { return getEntry(dtype).bytes; }

llvm::StringRef nag::runtime::getName(DType dtype) {
  return getEntry(dtype).name;
}

llvm::StringRef nag::runtime::getSafetensorsName(DType dtype) {
  return getEntry(dtype).safetensorsName;
}

std::optional<DType> nag::runtime::parseDType(llvm::StringRef name) {
  return find(&DTypeEntry::name, name);
}

std::optional<DType> nag::runtime::parseSafetensorsDType(llvm::StringRef name) {
  return find(&DTypeEntry::safetensorsName, name);
}

int64_t nag::runtime::getNumElements(llvm::ArrayRef<int64_t> shape) {
  int64_t elements = 1;
  for (int64_t size : shape)
    elements *= size;
  return elements;
}

std::string nag::runtime::formatType(DType dtype,
                                     llvm::ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t size : shape)
    text += llvm::itostr(size) + "x";
  return text + getName(dtype).str();
}

template <typename Info>
static const Info *findByName(llvm::ArrayRef<Info> infos,
                              llvm::StringRef name) {
  const Info *found =
      llvm::find_if(infos, [&](const Info &info) { return info.name == name; });
  return found == infos.end() ? nullptr : found;
}

const TensorInfo *FunctionInfo::lookup(llvm::StringRef argument) const {
  return findByName(llvm::ArrayRef(arguments), argument);
}

Program::~Program() = default;

llvm::Error Program::enqueue(llvm::StringRef, llvm::ArrayRef<void *>, void *) {
  return makeError("stream: expected a program on a device with streams, but "
                   "got one on the host");
}

const FunctionInfo *Program::lookup(llvm::StringRef function) const {
  return findByName(functions(), function);
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Arrays.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <cstring>
#include <random>

using namespace llvm;

namespace ptxvm_tool {
namespace {

const ElementType elementTypes[] = {
    {"f16", 2, 'f', "<f2"}, {"bf16", 2, 'b', "<u2"}, {"f32", 4, 'f', "<f4"},
    {"f64", 8, 'f', "<f8"}, {"s8", 1, 's', "|i1"},   {"s16", 2, 's', "<i2"},
    {"s32", 4, 's', "<i4"}, {"s64", 8, 's', "<i8"},  {"u8", 1, 'u', "|u1"},
    {"u16", 2, 'u', "<u2"}, {"u32", 4, 'u', "<u4"},  {"u64", 8, 'u', "<u8"}};

constexpr uint64_t largestArray = 1ull << 32;

Error bad(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

const fltSemantics &semanticsOf(const ElementType &type) {
  if (type.kind == 'b')
    return APFloat::BFloat();
  return type.size == 2   ? APFloat::IEEEhalf()
         : type.size == 4 ? APFloat::IEEEsingle()
                          : APFloat::IEEEdouble();
}
bool isFloatKind(const ElementType &type) {
  return type.kind == 'f' || type.kind == 'b';
}

void append(std::vector<uint8_t> &bytes, uint64_t bits, unsigned size) {
  for (unsigned k = 0; k < size; ++k)
    bytes.push_back(static_cast<uint8_t>(bits >> (8 * k)));
}

void appendDouble(std::vector<uint8_t> &bytes, const ElementType &type,
                  double value) {
  if (!isFloatKind(type))
    return append(bytes, static_cast<uint64_t>(static_cast<int64_t>(value)),
                  type.size);
  APFloat number(value);
  bool loses;
  number.convert(semanticsOf(type), APFloat::rmNearestTiesToEven, &loses);
  append(bytes, number.bitcastToAPInt().getZExtValue(), type.size);
}

Error appendText(std::vector<uint8_t> &bytes, const ElementType &type,
                 StringRef text) {
  text = text.trim();
  uint64_t raw;
  if (text.starts_with("0x") && !text.getAsInteger(16, raw)) {
    append(bytes, raw, type.size); // bits, for any type
    return Error::success();
  }
  if (text.starts_with("0x") && !text.drop_front(2).getAsInteger(16, raw)) {
    append(bytes, raw, type.size);
    return Error::success();
  }
  if (isFloatKind(type)) {
    double value;
    if (text.getAsDouble(value))
      return bad("expected a number, but got '" + text + "'");
    appendDouble(bytes, type, value);
    return Error::success();
  }
  int64_t number;
  if (!text.getAsInteger(10, number))
    append(bytes, static_cast<uint64_t>(number), type.size);
  else if (!text.getAsInteger(10, raw))
    append(bytes, raw, type.size);
  else
    return bad("expected an integer, but got '" + text + "'");
  return Error::success();
}

Error generate(Argument &argument, StringRef generator) {
  const ElementType &type = *argument.type;
  auto [name, parameter] = generator.split('=');
  if (name == "uninit" || name == "freed") {
    argument.isInitialized = false;
    argument.isFreed = name == "freed";
    return Error::success();
  }
  if (name == "random") {
    unsigned seed = 0;
    if (!parameter.empty() && parameter.getAsInteger(10, seed))
      return bad("expected a seed, but got '" + parameter + "'");
    std::mt19937 engine(seed);
    std::uniform_real_distribution<double> real(-1, 1);
    for (uint64_t k = 0; k < argument.count; ++k)
      if (isFloatKind(type))
        appendDouble(argument.bytes, type, real(engine));
      else
        append(argument.bytes, engine(), type.size);
    return Error::success();
  }
  if (name == "zero" || name == "iota") {
    for (uint64_t k = 0; k < argument.count; ++k)
      appendDouble(argument.bytes, type,
                   name == "iota" ? static_cast<double>(k) : 0.0);
    return Error::success();
  }
  if (name == "fill") {
    for (uint64_t k = 0; k < argument.count; ++k)
      if (Error error = appendText(argument.bytes, type, parameter))
        return error;
    return Error::success();
  }
  SmallVector<StringRef> values;
  generator.split(values, ',');
  if (values.size() != argument.count)
    return bad("expected " + Twine(argument.count) + " values, but got " +
               Twine(values.size()) + " in '" + generator + "'");
  for (StringRef value : values)
    if (Error error = appendText(argument.bytes, type, value))
      return error;
  return Error::success();
}

const ElementType *typeNamed(StringRef name) {
  for (const ElementType &type : elementTypes)
    if (type.name == name)
      return &type;
  return nullptr;
}

Expected<Argument> readNumpy(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path, false, false);
  if (!buffer)
    return bad("cannot read '" + path + "': " + buffer.getError().message());
  StringRef data = (*buffer)->getBuffer();
  if (!data.starts_with("\x93NUMPY") || data.size() < 12)
    return bad("expected a .npy file, but got '" + path + "'");
  size_t prefix = data[6] == 1 ? 10 : 12;
  size_t header = static_cast<uint8_t>(data[8]) |
                  static_cast<size_t>(static_cast<uint8_t>(data[9])) << 8;
  if (prefix + header > data.size())
    return bad("truncated header in '" + path + "'");
  StringRef text = data.substr(prefix, header);
  if (!text.contains("'fortran_order': False"))
    return bad("expected C order in '" + path + "'");
  Argument argument;
  argument.isArray = true;
  for (const ElementType &type : elementTypes)
    if (type.kind != 'b' && text.contains("'" + type.numpy.str() + "'"))
      argument.type = &type;
  if (!argument.type)
    return bad("unsupported element type in '" + path + "'");
  StringRef body = data.substr(prefix + header);
  argument.count = body.size() / argument.type->size;
  argument.bytes.assign(body.bytes_begin(), body.bytes_end());
  return argument;
}

} // namespace

Expected<Argument> parseArgument(StringRef text) {
  if (text.consume_front("npy:"))
    return readNumpy(text);
  Argument argument;
  if (text == "null") {
    argument.isNull = true;
    argument.type = typeNamed("u64");
    return argument;
  }
  auto [head, value] = text.split(':');
  auto [typeName, rest] = head.split('[');
  argument.type = typeNamed(typeName);
  if (!argument.type)
    return bad("expected a type such as f32, but got '" + typeName + "' in '" +
               text + "'");
  if (value.empty())
    return bad("expected a value after ':' in '" + text + "'");
  if (rest.empty()) {
    if (Error error = appendText(argument.bytes, *argument.type, value))
      return error;
    return argument;
  }
  argument.isArray = true;
  if (!rest.consume_back("]") || rest.getAsInteger(10, argument.count) ||
      argument.count == 0 || argument.count > largestArray)
    return bad("expected an element count in brackets in '" + text + "'");
  if (Error error = generate(argument, value))
    return error;
  return argument;
}

std::string formatElement(const ElementType &type,
                          const std::vector<uint8_t> &bytes, uint64_t index) {
  uint64_t bits = 0;
  std::memcpy(&bits, bytes.data() + index * type.size, type.size);
  if (type.kind == 'u')
    return utostr(bits);
  if (type.kind == 's')
    return itostr(static_cast<int64_t>(bits << (64 - 8 * type.size)) >>
                  (64 - 8 * type.size));
  APFloat number(semanticsOf(type), APInt(type.size * 8, bits));
  if (number.isNaN())
    return "nan";
  if (number.isInfinity())
    return number.isNegative() ? "-inf" : "inf";
  bool loses;
  number.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &loses);
  std::string result;
  raw_string_ostream stream(result);
  stream << format(type.size == 8   ? "%.17g"
                   : type.size == 4 ? "%.9g"
                                    : "%.5g",
                   number.convertToDouble());
  return result;
}

Error writeNumpy(StringRef path, const ElementType &type,
                 const std::vector<uint8_t> &bytes) {
  std::error_code code;
  raw_fd_ostream file(path, code);
  if (code)
    return bad("cannot write '" + path + "': " + code.message());
  std::string header = "{'descr': '" + type.numpy.str() +
                       "', 'fortran_order': False, 'shape': (" +
                       std::to_string(bytes.size() / type.size) + ",), }";
  header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  file << StringRef("\x93NUMPY\x01\x00", 8)
       << static_cast<char>(header.size() & 0xff)
       << static_cast<char>(header.size() >> 8) << header;
  file.write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  return Error::success();
}

} // namespace ptxvm_tool

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// vprintf: the device's argument layout, formatted by the host's snprintf.
#include "State.h"

#include <cstdio>
#include <cstring>

namespace ptxvm {
namespace {

constexpr uint64_t longestString = 4096;

struct Conversion {
  std::string text; // "%-8.3", without length modifiers
  char letter = 0;
  bool isLong = false;
  unsigned stars = 0;
};

/// Reads one conversion after '%'; letter 0 when the format ends.
Conversion parseConversion(const std::string &format, size_t &position) {
  Conversion result;
  result.text = "%";
  while (position < format.size()) {
    char c = format[position++];
    if (std::strchr("-+ #0123456789.", c)) {
      result.text += c;
    } else if (c == '*') {
      result.text += c;
      ++result.stars;
    } else if (c == 'l' || c == 'z' || c == 'j' || c == 't') {
      result.isLong = true;
    } else if (c != 'h') {
      result.letter = c;
      break;
    }
  }
  return result;
}

/// Arguments packed at their natural alignment.
class ArgumentReader {
public:
  ArgumentReader(const uint8_t *data, uint64_t available)
      : bytes(data), size(data ? available : 0) {}
  uint64_t next(unsigned width) {
    offset = (offset + width - 1) / width * width;
    uint64_t value = 0;
    if (offset + width <= size)
      std::memcpy(&value, bytes + offset, width);
    offset += width;
    return value;
  }

private:
  const uint8_t *bytes;
  uint64_t size;
  uint64_t offset = 0;
};

template <typename... Args>
std::string printed(const std::string &format, Args... args) {
  char buffer[512];
  int length = std::snprintf(buffer, sizeof(buffer), format.c_str(), args...);
  return length < 0 ? std::string() : std::string(buffer);
}

std::string convert(Block &block, Conversion conversion,
                    ArgumentReader &arguments) {
  for (unsigned k = 0; k < conversion.stars; ++k) {
    size_t star = conversion.text.find('*');
    int width = static_cast<int>(arguments.next(4));
    conversion.text.replace(star, 1, std::to_string(width));
  }
  // Widths beyond the buffer would only be cut.
  if (conversion.text.size() > 16)
    conversion.text = "%";
  switch (conversion.letter) {
  case '%':
    return "%";
  case 'd':
  case 'i':
    if (conversion.isLong)
      return printed(conversion.text + "lld",
                     static_cast<long long>(arguments.next(8)));
    return printed(conversion.text + "d", static_cast<int>(arguments.next(4)));
  case 'u':
  case 'x':
  case 'X':
  case 'o':
    if (conversion.isLong)
      return printed(conversion.text + "ll" + conversion.letter,
                     static_cast<unsigned long long>(arguments.next(8)));
    return printed(conversion.text + conversion.letter,
                   static_cast<unsigned>(arguments.next(4)));
  case 'c':
    return printed(conversion.text + "c", static_cast<int>(arguments.next(4)));
  case 'p':
    return printed("0x%llx",
                   static_cast<unsigned long long>(arguments.next(8)));
  case 's':
    return printed(conversion.text + "s",
                   readDeviceString(block, arguments.next(8)).c_str());
  case 'a':
  case 'A':
  case 'e':
  case 'E':
  case 'f':
  case 'F':
  case 'g':
  case 'G': {
    uint64_t bits = arguments.next(8);
    double value;
    std::memcpy(&value, &bits, 8);
    return printed(conversion.text + conversion.letter, value);
  }
  default:
    return conversion.text + conversion.letter;
  }
}

} // namespace

std::string readDeviceString(Block &block, uint64_t address) {
  std::string text;
  DeviceMemory &memory = *block.launch->memory;
  for (; text.size() < longestString && memory.inRange(address, 1); ++address) {
    char c = static_cast<char>(*memory.host(address));
    if (c == '\0')
      break;
    text += c;
  }
  return text;
}

std::string formatPrintf(Block &block, uint64_t format,
                         const uint8_t *arguments, uint64_t available) {
  std::string pattern = readDeviceString(block, format), result;
  ArgumentReader reader(arguments, available);
  for (size_t position = 0; position < pattern.size();) {
    char c = pattern[position++];
    if (c != '%') {
      result += c;
      continue;
    }
    Conversion conversion = parseConversion(pattern, position);
    if (conversion.letter)
      result += convert(block, conversion, reader);
  }
  return result;
}

} // namespace ptxvm

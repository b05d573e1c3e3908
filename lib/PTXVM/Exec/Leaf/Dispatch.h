// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a PTX type to the C++ type a handler is made for.
#ifndef PTXVM_EXEC_LEAF_DISPATCH_H
#define PTXVM_EXEC_LEAF_DISPATCH_H

#include "Leaf.h"

namespace ptxvm::PTXVM_ISA {

template <typename T> struct Tag {
  using type = T;
};
/// The type a generic lambda was called with.
template <typename TagT> using TypeOf = typename TagT::type;

/// make(Tag<T>) for the integer type of the sign and size of `type`; bit types
/// count as unsigned. Null when the size in bytes is not in the mask `Sizes`.
template <unsigned Sizes, typename Fn> Handler byInteger(Type type, Fn make) {
  switch (type) {
  case Type::B16:
  case Type::U16:
    if constexpr ((Sizes & 2) != 0)
      return make(Tag<uint16_t>());
    break;
  case Type::S16:
    if constexpr ((Sizes & 2) != 0)
      return make(Tag<int16_t>());
    break;
  case Type::B32:
  case Type::U32:
    if constexpr ((Sizes & 4) != 0)
      return make(Tag<uint32_t>());
    break;
  case Type::S32:
    if constexpr ((Sizes & 4) != 0)
      return make(Tag<int32_t>());
    break;
  case Type::B64:
  case Type::U64:
    if constexpr ((Sizes & 8) != 0)
      return make(Tag<uint64_t>());
    break;
  case Type::S64:
    if constexpr ((Sizes & 8) != 0)
      return make(Tag<int64_t>());
    break;
  default:
    break;
  }
  return nullptr;
}

/// The same for the unsigned type of so many bytes, 1 to 8.
template <typename Fn> Handler byBytes(unsigned size, Fn make) {
  switch (size) {
  case 1:
    return make(Tag<uint8_t>());
  case 2:
    return make(Tag<uint16_t>());
  case 4:
    return make(Tag<uint32_t>());
  case 8:
    return make(Tag<uint64_t>());
  default:
    return nullptr;
  }
}

/// The same for the unsigned type of the size of `type`.
template <unsigned Sizes, typename Fn> Handler bySize(Type type, Fn make) {
  switch (sizeOf(type)) {
  case 2:
    return byInteger<Sizes>(Type::U16, make);
  case 4:
    return byInteger<Sizes>(Type::U32, make);
  case 8:
    return byInteger<Sizes>(Type::U64, make);
  default:
    return nullptr;
  }
}

} // namespace ptxvm::PTXVM_ISA

#endif // PTXVM_EXEC_LEAF_DISPATCH_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Arrays.h"

#include "llvm/ADT/StringExtras.h"

namespace nb = nanobind;
using namespace nag::python;
using nag::runtime::DType;
using nag::runtime::TensorInfo;

//===- Types --------------------------------------------------------------===//

static nb::dlpack::dtype getDType(DType dtype) {
  auto make = [](nb::dlpack::dtype_code code, uint8_t bits) {
    return nb::dlpack::dtype{static_cast<uint8_t>(code), bits, 1};
  };
  using Code = nb::dlpack::dtype_code;
  switch (dtype) {
  case DType::F64:
    return make(Code::Float, 64);
  case DType::F32:
    return make(Code::Float, 32);
  case DType::F16:
    return make(Code::Float, 16);
  case DType::BF16:
    return make(Code::Bfloat, 16);
  case DType::I64:
    return make(Code::Int, 64);
  case DType::I32:
    return make(Code::Int, 32);
  case DType::I16:
    return make(Code::Int, 16);
  case DType::I8:
    return make(Code::Int, 8);
  case DType::U16:
    return make(Code::UInt, 16);
  case DType::U8:
    return make(Code::UInt, 8);
  case DType::Bool:
    return make(Code::Bool, 8);
  }
  llvm_unreachable("all element types are covered");
}

/// "f32", "i64", "u8"; of what no program has, "u32" or DLPack's own code.
static std::string describe(nb::dlpack::dtype dtype) {
  for (DType known :
       {DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::I32,
        DType::I16, DType::I8, DType::U16, DType::U8, DType::Bool})
    if (getDType(known) == dtype)
      return nag::runtime::getName(known).str();
  if (dtype.code == uint8_t(nb::dlpack::dtype_code::UInt) && dtype.lanes == 1)
    return "u" + std::to_string(dtype.bits);
  return "type(" + std::to_string(dtype.code) + ", " +
         std::to_string(dtype.bits) + " bits)";
}

static std::string describeType(const AnyArray &array) {
  std::string text;
  for (size_t i = 0; i < array.ndim(); ++i)
    text += std::to_string(array.shape(i)) + "x";
  return text + describe(array.dtype());
}

static std::string describeDevice(int type, int id) {
  if (type == nb::device::cpu::value)
    return "cpu";
  std::string number = ":" + std::to_string(id);
  return (type == nb::device::cuda::value ? "cuda"
                                          : "device" + std::to_string(type)) +
         number;
}

static bool hasShape(const AnyArray &array, llvm::ArrayRef<int64_t> shape) {
  if (array.ndim() != shape.size())
    return false;
  for (auto [i, size] : llvm::enumerate(shape))
    if (static_cast<int64_t>(array.shape(i)) != size)
      return false;
  return true;
}

/// Row-major without gaps; the stride of a dimension of size 1 does not count.
static bool isDense(const AnyArray &array) {
  int64_t expected = 1;
  for (size_t i = array.ndim(); i-- > 0;) {
    if (array.shape(i) != 1 && array.stride(i) != expected)
      return array.size() == 0;
    expected *= array.shape(i);
  }
  return true;
}

static std::string describeStrides(const AnyArray &array) {
  std::string text;
  for (size_t i = 0; i < array.ndim(); ++i)
    text += (i ? ", " : "") + std::to_string(array.stride(i));
  return "(" + text + ")";
}

static std::optional<DType> findDType(nb::dlpack::dtype dtype) {
  for (DType known :
       {DType::F64, DType::F32, DType::F16, DType::BF16, DType::I64, DType::I32,
        DType::I16, DType::I8, DType::U16, DType::U8, DType::Bool})
    if (getDType(known) == dtype)
      return known;
  return std::nullopt;
}

//===- In -----------------------------------------------------------------===//

AnyArray nag::python::getArray(const ProgramState &state,
                               const TensorInfo &info, nb::handle value,
                               const std::string &where) {
  auto fail = [&](const llvm::Twine &expected, const llvm::Twine &actual) {
    raise(ErrorKind::Argument,
          where + ": expected " + expected + ", but got " + actual);
  };
  AnyArray array;
  if (!nb::ndarray_check(value))
    fail("an array", nb::type_name(value.type()).c_str());
  if (!nb::try_cast(value, array, false))
    fail("an array that DLPack can describe",
         nb::type_name(value.type()).c_str() + std::string(" of ") +
             nb::str(nb::getattr(value, "dtype", value.type())).c_str());
  std::string expected = runtime::formatType(info.dtype, info.shape);
  auto [deviceType, deviceId] = state.program->device().getDLPackDevice();
  if (array.device_type() != deviceType || array.device_id() != deviceId)
    fail("an array on " + describeDevice(deviceType, deviceId),
         "one on " + describeDevice(array.device_type(), array.device_id()));
  if (array.dtype() != getDType(info.dtype) || !hasShape(array, info.shape))
    fail(expected, describeType(array));
  if (!isDense(array))
    fail("a contiguous row-major array", "strides " + describeStrides(array));
  nb::ndarray<> writable;
  if (info.access != TensorInfo::Access::Read &&
      !nb::try_cast(value, writable, false))
    fail("a writable array, as the program writes to it", "a read-only one");
  return array;
}

//===- Out ----------------------------------------------------------------===//

namespace {
/// A buffer and the program whose device it belongs to.
struct OwnedBuffer {
  std::shared_ptr<ProgramState> state;
  nag::runtime::Buffer buffer;
};
} // namespace

nb::object nag::python::viewArray(const ProgramState &state,
                                  const TensorInfo &info, void *data,
                                  nb::handle owner) {
  llvm::SmallVector<size_t> shape(info.shape.begin(), info.shape.end());
  runtime::Device &device = state.program->device();
  auto [deviceType, deviceId] = device.getDLPackDevice();
  nb::dlpack::dtype dtype = getDType(info.dtype);
  if (device.isHost() && info.dtype != DType::BF16)
    return nb::cast(nb::ndarray<nb::numpy>(data, shape.size(), shape.data(),
                                           owner, nullptr, dtype, deviceType,
                                           deviceId),
                    nb::rv_policy::reference);
  return nb::cast(nb::ndarray<nb::array_api>(data, shape.size(), shape.data(),
                                             owner, nullptr, dtype, deviceType,
                                             deviceId),
                  nb::rv_policy::reference);
}

nb::object
nag::python::allocateArray(const std::shared_ptr<ProgramState> &state,
                           const TensorInfo &info, bool zeroed) {
  auto owned = std::make_unique<OwnedBuffer>();
  owned->state = state;
  owned->buffer = take(runtime::Buffer::create(state->program->device(),
                                               info.getByteSize(), zeroed));
  void *data = owned->buffer.get();
  nb::capsule owner(owned.release(), [](void *object) noexcept {
    delete static_cast<OwnedBuffer *>(object);
  });
  return viewArray(*state, info, data, owner);
}

//===- Copies -------------------------------------------------------------===//

/// A dense array on the device of this type, and what it is as a tensor.
static std::pair<AnyArray, TensorInfo> getDense(nb::handle value, int type,
                                                const char *where) {
  AnyArray array;
  if (!nb::ndarray_check(value) || !nb::try_cast(value, array, false))
    raise(ErrorKind::Argument, llvm::Twine(where) +
                                   ": expected an array, but got " +
                                   nb::type_name(value.type()).c_str());
  std::optional<DType> dtype = findDType(array.dtype());
  if (array.device_type() != type || !dtype || !isDense(array))
    raise(ErrorKind::Argument,
          llvm::Twine(where) + ": expected a contiguous array on " +
              describeDevice(type, 0) + ", but got " + describeType(array) +
              " on " + describeDevice(array.device_type(), array.device_id()));
  TensorInfo info;
  info.dtype = *dtype;
  for (size_t i = 0; i < array.ndim(); ++i)
    info.shape.push_back(array.shape(i));
  return {array, info};
}

nb::object nag::python::toDevice(const std::shared_ptr<ProgramState> &state,
                                 nb::handle value) {
  auto [array, info] = getDense(value, nb::device::cpu::value, "to_device");
  nb::object copy = allocateArray(state, info, /*zeroed=*/false);
  auto target = nb::cast<nb::ndarray<>>(copy);
  check(state->get().device().copyToDevice(target.data(), array.data(),
                                           info.getByteSize()));
  return copy;
}

nb::object nag::python::toHost(const std::shared_ptr<ProgramState> &state,
                               nb::handle value) {
  runtime::Device &device = state->get().device();
  auto [array, info] =
      getDense(value, device.getDLPackDevice().first, "to_host");
  size_t bytes = info.getByteSize();
  auto memory = std::make_unique<char[]>(bytes);
  check(device.copyToHost(memory.get(), array.data(), bytes));
  void *data = memory.get();
  nb::capsule owner(memory.release(), [](void *object) noexcept {
    delete[] static_cast<char *>(object);
  });
  llvm::SmallVector<size_t> shape(info.shape.begin(), info.shape.end());
  return nb::cast(nb::ndarray<nb::numpy>(data, shape.size(), shape.data(),
                                         owner, nullptr, getDType(info.dtype)),
                  nb::rv_policy::reference);
}

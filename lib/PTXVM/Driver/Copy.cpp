// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Copies and fills. Every range of the device must lie in one live allocation;
// an address outside the device's range is the host's.
#include "State.h"

#include <cstring>

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

/// One end of a copy.
struct Place {
  uint64_t address = 0;
  bool isDevice = false;
};

Place deviceAt(uint64_t address) { return {address, true}; }
Place hostAt(const void *pointer) {
  return {reinterpret_cast<uint64_t>(pointer), false};
}
Place anyAt(Driver &state, uint64_t address) {
  return {address, state.memory->inRange(address, 1)};
}

CUresult copyBytes(Driver &state, Place target, Place source, size_t bytes) {
  if (bytes == 0)
    return CUDA_SUCCESS;
  DeviceMemory &memory = *state.memory;
  for (const Place &place : {target, source}) {
    bool isHostPointer = place.address && !memory.inRange(place.address, 1);
    if (place.isDevice ? !memory.view(place.address, bytes) : !isHostPointer)
      return CUDA_ERROR_INVALID_VALUE;
  }
  void *to = reinterpret_cast<void *>(target.address);
  const void *from = reinterpret_cast<const void *>(source.address);
  bool done = true;
  if (target.isDevice && source.isDevice)
    done = memory.copy(target.address, source.address, bytes);
  else if (target.isDevice)
    done = memory.write(target.address, from, bytes);
  else if (source.isDevice)
    done = memory.read(source.address, to, bytes);
  else
    std::memmove(to, from, bytes);
  return done ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult copy(Place target, Place source, size_t bytes, CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    return copyBytes(state, target, source, bytes);
  });
}

CUresult copyUnified(uint64_t target, uint64_t source, size_t bytes,
                     CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    return copyBytes(state, anyAt(state, target), anyAt(state, source), bytes);
  });
}

CUresult copyBetween(CUdeviceptr target, CUcontext targetContext,
                     CUdeviceptr source, CUcontext sourceContext, size_t bytes,
                     CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    if (!state.contexts.find(targetContext) ||
        !state.contexts.find(sourceContext))
      return CUDA_ERROR_INVALID_CONTEXT;
    return copyBytes(state, deviceAt(target), deviceAt(source), bytes);
  });
}

/// Start of one side of a two-dimensional copy; false for arrays.
bool placeOf(Driver &state, CUmemorytype type, const void *host,
             CUdeviceptr device, size_t x, size_t y, size_t pitch,
             Place &place) {
  switch (type) {
  case CU_MEMORYTYPE_HOST:
    place = hostAt(host);
    break;
  case CU_MEMORYTYPE_DEVICE:
    place = deviceAt(device);
    break;
  case CU_MEMORYTYPE_UNIFIED:
    place = anyAt(state, device);
    break;
  default:
    return false;
  }
  if (place.address == 0)
    return false;
  place.address += y * pitch + x;
  return true;
}

CUresult copyRows(const CUDA_MEMCPY2D *request, CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    if (!request)
      return CUDA_ERROR_INVALID_VALUE;
    const CUDA_MEMCPY2D &r = *request;
    if (r.WidthInBytes == 0 || r.Height == 0)
      return CUDA_SUCCESS;
    size_t sourcePitch = r.srcPitch ? r.srcPitch : r.WidthInBytes;
    size_t targetPitch = r.dstPitch ? r.dstPitch : r.WidthInBytes;
    Place source, target;
    if (!placeOf(state, r.srcMemoryType, r.srcHost, r.srcDevice, r.srcXInBytes,
                 r.srcY, sourcePitch, source) ||
        !placeOf(state, r.dstMemoryType, r.dstHost, r.dstDevice, r.dstXInBytes,
                 r.dstY, targetPitch, target) ||
        sourcePitch < r.WidthInBytes || targetPitch < r.WidthInBytes)
      return CUDA_ERROR_INVALID_VALUE;
    for (size_t row = 0; row < r.Height; ++row) {
      if (CUresult wrong = copyBytes(state, target, source, r.WidthInBytes))
        return wrong;
      source.address += sourcePitch;
      target.address += targetPitch;
    }
    return CUDA_SUCCESS;
  });
}

/// Fills `height` rows of `width` elements; pitch in bytes.
template <typename T>
CUresult fill(CUdeviceptr target, size_t pitch, T value, size_t width,
              size_t height, CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    if (width == 0 || height == 0)
      return CUDA_SUCCESS;
    size_t bytes = width * sizeof(T);
    if (width > SIZE_MAX / sizeof(T) || target % sizeof(T) ||
        (height > 1 && (pitch < bytes || pitch % sizeof(T))) ||
        (height > 1 && height - 1 > (SIZE_MAX - bytes) / pitch) ||
        !state.memory->view(target, (height - 1) * pitch + bytes))
      return CUDA_ERROR_INVALID_VALUE;
    for (size_t row = 0; row < height; ++row) {
      uint8_t *start = state.memory->view(target + row * pitch, bytes);
      if (sizeof(T) == 1)
        std::memset(start, static_cast<int>(value), bytes);
      else
        std::fill_n(reinterpret_cast<T *>(start), width, value);
      state.memory->markInitialized(target + row * pitch, bytes);
    }
    return CUDA_SUCCESS;
  });
}

} // namespace

CUresult cuMemcpy(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
  return copyUnified(target, source, bytes, nullptr);
}
CUresult cuMemcpyAsync(CUdeviceptr target, CUdeviceptr source, size_t bytes,
                       CUstream stream) {
  return copyUnified(target, source, bytes, stream);
}
CUresult cuMemcpyPeer(CUdeviceptr target, CUcontext targetContext,
                      CUdeviceptr source, CUcontext sourceContext,
                      size_t bytes) {
  return copyBetween(target, targetContext, source, sourceContext, bytes,
                     nullptr);
}
CUresult cuMemcpyPeerAsync(CUdeviceptr target, CUcontext targetContext,
                           CUdeviceptr source, CUcontext sourceContext,
                           size_t bytes, CUstream stream) {
  return copyBetween(target, targetContext, source, sourceContext, bytes,
                     stream);
}
CUresult cuMemcpyHtoD_v2(CUdeviceptr target, const void *source, size_t bytes) {
  return copy(deviceAt(target), hostAt(source), bytes, nullptr);
}
CUresult cuMemcpyDtoH_v2(void *target, CUdeviceptr source, size_t bytes) {
  return copy(hostAt(target), deviceAt(source), bytes, nullptr);
}
CUresult cuMemcpyDtoD_v2(CUdeviceptr target, CUdeviceptr source, size_t bytes) {
  return copy(deviceAt(target), deviceAt(source), bytes, nullptr);
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void *source,
                              size_t bytes, CUstream stream) {
  return copy(deviceAt(target), hostAt(source), bytes, stream);
}
CUresult cuMemcpyDtoHAsync_v2(void *target, CUdeviceptr source, size_t bytes,
                              CUstream stream) {
  return copy(hostAt(target), deviceAt(source), bytes, stream);
}
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source,
                              size_t bytes, CUstream stream) {
  return copy(deviceAt(target), deviceAt(source), bytes, stream);
}
CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D *request) {
  return copyRows(request, nullptr);
}
CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D *request) {
  return copyRows(request, nullptr);
}
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *request, CUstream stream) {
  return copyRows(request, stream);
}

CUresult cuMemsetD8_v2(CUdeviceptr target, unsigned char value, size_t count) {
  return fill(target, 0, value, count, 1, nullptr);
}
CUresult cuMemsetD16_v2(CUdeviceptr target, unsigned short value,
                        size_t count) {
  return fill(target, 0, value, count, 1, nullptr);
}
CUresult cuMemsetD32_v2(CUdeviceptr target, unsigned value, size_t count) {
  return fill(target, 0, value, count, 1, nullptr);
}
CUresult cuMemsetD2D8_v2(CUdeviceptr target, size_t pitch, unsigned char value,
                         size_t width, size_t height) {
  return fill(target, pitch, value, width, height, nullptr);
}
CUresult cuMemsetD2D16_v2(CUdeviceptr target, size_t pitch,
                          unsigned short value, size_t width, size_t height) {
  return fill(target, pitch, value, width, height, nullptr);
}
CUresult cuMemsetD2D32_v2(CUdeviceptr target, size_t pitch, unsigned value,
                          size_t width, size_t height) {
  return fill(target, pitch, value, width, height, nullptr);
}
CUresult cuMemsetD8Async(CUdeviceptr target, unsigned char value, size_t count,
                         CUstream stream) {
  return fill(target, 0, value, count, 1, stream);
}
CUresult cuMemsetD16Async(CUdeviceptr target, unsigned short value,
                          size_t count, CUstream stream) {
  return fill(target, 0, value, count, 1, stream);
}
CUresult cuMemsetD32Async(CUdeviceptr target, unsigned value, size_t count,
                          CUstream stream) {
  return fill(target, 0, value, count, 1, stream);
}
CUresult cuMemsetD2D8Async(CUdeviceptr target, size_t pitch,
                           unsigned char value, size_t width, size_t height,
                           CUstream stream) {
  return fill(target, pitch, value, width, height, stream);
}
CUresult cuMemsetD2D16Async(CUdeviceptr target, size_t pitch,
                            unsigned short value, size_t width, size_t height,
                            CUstream stream) {
  return fill(target, pitch, value, width, height, stream);
}
CUresult cuMemsetD2D32Async(CUdeviceptr target, size_t pitch, unsigned value,
                            size_t width, size_t height, CUstream stream) {
  return fill(target, pitch, value, width, height, stream);
}

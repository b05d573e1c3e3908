// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Device.h"
#include "nag/Runtime/Errors.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace nag::runtime;

Device::~Device() = default;

llvm::Expected<void *> HostDevice::allocate(size_t bytes, bool zeroed) {
  size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment;
  void *buffer = std::aligned_alloc(alignment, rounded * alignment);
  if (!buffer)
    return makeError("cannot allocate {0} bytes of host memory", bytes);
  if (zeroed)
    std::memset(buffer, 0, bytes);
  return buffer;
}

void HostDevice::release(void *buffer) { std::free(buffer); }

llvm::Error HostDevice::copyToDevice(void *buffer, const void *host,
                                     size_t bytes) {
  if (bytes)
    std::memcpy(buffer, host, bytes);
  return llvm::Error::success();
}

llvm::Error HostDevice::copyToHost(void *host, const void *buffer,
                                   size_t bytes) {
  return copyToDevice(host, buffer, bytes);
}

llvm::Expected<Buffer> Buffer::create(Device &device, size_t bytes,
                                      bool zeroed) {
  llvm::Expected<void *> data = device.allocate(bytes, zeroed);
  if (!data)
    return data.takeError();
  Buffer buffer;
  buffer.device = &device;
  buffer.data = *data;
  buffer.bytes = bytes;
  return buffer;
}

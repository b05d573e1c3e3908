// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Memory that a program's buffers live in.
#ifndef NAG_RUNTIME_DEVICE_H
#define NAG_RUNTIME_DEVICE_H

#include "llvm/Support/Error.h"
#include <cstddef>
#include <utility>

namespace nag::runtime {

/// Allocates buffers and copies between them and the host. Sizes are in bytes.
class Device {
public:
  virtual ~Device();

  /// A buffer of at least `bytes` bytes (never null, also for 0 bytes), filled
  /// with zero bytes when `zeroed`. Fails when memory runs out.
  virtual llvm::Expected<void *> allocate(size_t bytes, bool zeroed) = 0;
  virtual void release(void *buffer) = 0;

  virtual llvm::Error copyToDevice(void *buffer, const void *host,
                                   size_t bytes) = 0;
  virtual llvm::Error copyToHost(void *host, const void *buffer,
                                 size_t bytes) = 0;

  /// True when buffers are host memory that may be read and written in place.
  virtual bool isHost() const { return false; }

  /// DLPack's type (1: host, 2: CUDA) and number of the device.
  virtual std::pair<int, int> getDLPackDevice() const { return {1, 0}; }
};

/// Host memory, aligned to 64 bytes (a cache line, an AVX-512 register).
class HostDevice : public Device {
public:
  static constexpr size_t alignment = 64;

  llvm::Expected<void *> allocate(size_t bytes, bool zeroed) override;
  void release(void *buffer) override;
  llvm::Error copyToDevice(void *buffer, const void *host,
                           size_t bytes) override;
  llvm::Error copyToHost(void *host, const void *buffer, size_t bytes) override;
  bool isHost() const override { return true; }
};

/// A buffer that releases itself.
class Buffer {
public:
  Buffer() = default;
  Buffer(Buffer &&other) noexcept { swap(other); }
  Buffer &operator=(Buffer &&other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() {
    if (data)
      device->release(data);
  }

  static llvm::Expected<Buffer> create(Device &device, size_t bytes,
                                       bool zeroed);

  void *get() const { return data; }
  size_t size() const { return bytes; }

private:
  void swap(Buffer &other) {
    std::swap(device, other.device);
    std::swap(data, other.data);
    std::swap(bytes, other.bytes);
  }

  Device *device = nullptr;
  void *data = nullptr;
  size_t bytes = 0;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_DEVICE_H

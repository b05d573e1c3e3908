// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A GPU, or the PTX machine in its place: memory, modules and launches on one
// stream, all through the driver.
#ifndef NAG_RUNTIME_CUDA_DEVICE_H
#define NAG_RUNTIME_CUDA_DEVICE_H

#include "nag/Runtime/CUDA/Driver.h"
#include "nag/Runtime/Device.h"

#include "llvm/ADT/ArrayRef.h"

#include <vector>

namespace nag::runtime::cuda {

/// The primary context of one device and one stream in it. Copies and launches
/// happen in the order of their calls.
class CUDADevice : public Device {
public:
  /// `name` is "vm" or a device's number ("0").
  static llvm::Expected<std::unique_ptr<CUDADevice>> open(llvm::StringRef name);
  ~CUDADevice() override;

  llvm::Expected<void *> allocate(size_t bytes, bool zeroed) override;
  void release(void *buffer) override;
  llvm::Error copyToDevice(void *buffer, const void *host,
                           size_t bytes) override;
  llvm::Error copyToHost(void *host, const void *buffer, size_t bytes) override;
  std::pair<int, int> getDLPackDevice() const override {
    return {2, static_cast<int>(ordinal)};
  }

  /// Makes this device the calling thread's; threads that call the others need
  /// it once.
  llvm::Error makeCurrent();
  /// Copies within the device, in the stream.
  llvm::Error copy(void *to, const void *from, size_t bytes);
  /// Waits for all that the stream holds. Fails where that failed, and where
  /// the PTX machine found a fault in it.
  llvm::Error synchronize();
  /// Fails with the first fault that the PTX machine has seen since the last
  /// call: "kernel 'k': out-of-bounds: ...".
  llvm::Error checkFindings();

  /// "NVIDIA H100 80GB HBM3, sm_90".
  const std::string &getDescription() const { return description; }
  /// True when code for `chip` ("sm_80", "sm_90a") runs here: PTX for a chip
  /// runs on later ones, that of a chip with the suffix a on itself alone.
  bool supports(llvm::StringRef chip) const;

  const Driver &getDriver() const { return *driver; }
  /// Where launches and copies within the device go.
  Stream getStream() const { return current; }
  /// Sends them to another stream of the context, null for the default one,
  /// behind all that was sent before.
  llvm::Error useStream(Stream other);
  /// Sends them to the device's own stream again, likewise.
  llvm::Error useOwnStream() { return useStream(stream); }

private:
  CUDADevice() = default;
  llvm::Error initialize(llvm::StringRef name);

  std::unique_ptr<Driver> driver;
  DeviceOrdinal ordinal = 0;
  Context context = nullptr;
  Stream stream = nullptr, current = nullptr;
  /// Orders one stream behind another.
  Event event = nullptr;
  int capability = 0; // 80 for sm_80
  /// How often each fault was seen when it was reported.
  std::vector<uint64_t> findings;
  std::string description;
};

/// Machine code or PTX text in a device, and its kernels.
class LoadedModule {
public:
  /// `image` is PTX text or a cubin; PTX ends with a zero byte.
  static llvm::Expected<std::unique_ptr<LoadedModule>>
  load(CUDADevice &device, llvm::StringRef image);
  ~LoadedModule();

  /// The kernel of that name, allowed `sharedBytes` of dynamic shared memory.
  llvm::Expected<Function> getKernel(llvm::StringRef name, int64_t sharedBytes);

private:
  explicit LoadedModule(CUDADevice &owner) : device(owner) {}

  CUDADevice &device;
  Module module = nullptr;
};

} // namespace nag::runtime::cuda

#endif // NAG_RUNTIME_CUDA_DEVICE_H

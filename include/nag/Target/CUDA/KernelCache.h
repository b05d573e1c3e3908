// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// PTX of earlier compilations on disk. What a file holds follows from its name,
// so any number of processes may use a folder at once.
#ifndef NAG_TARGET_CUDA_KERNELCACHE_H
#define NAG_TARGET_CUDA_KERNELCACHE_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace nag::cuda {

class KernelCache {
public:
  /// $XDG_CACHE_HOME/nag or ~/.cache/nag; empty where there is no home.
  static std::string getDefaultFolder();

  /// Makes the folder where there is none. Fails when it cannot be written to.
  static llvm::Expected<KernelCache> open(llvm::StringRef folder);

  /// A digest of all that PTX text follows from: the lowered gpu.module, the
  /// chip, this compiler and its LLVM.
  static std::string getKey(mlir::gpu::GPUModuleOp device,
                            llvm::StringRef chip);

  /// The PTX stored under a key. Nothing where there is none or the file is not
  /// as it was written.
  std::optional<std::string> lookup(llvm::StringRef key) const;

  /// Stores PTX text, whole or not at all, and removes the entries that were
  /// not used for the longest time while the folder is too large (a gigabyte)
  /// or they are a month old. A full disk is no failure: what is not stored is
  /// compiled again.
  void store(llvm::StringRef key, llvm::StringRef ptx) const;

private:
  explicit KernelCache(std::string path) : folder(std::move(path)) {}
  std::string getPath(llvm::StringRef key) const;

  std::string folder;
};

} // namespace nag::cuda

#endif // NAG_TARGET_CUDA_KERNELCACHE_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Machine code from PTX by NVIDIA's assembler, ptxas, where it is installed.
#ifndef NAG_TARGET_CUDA_ASSEMBLER_H
#define NAG_TARGET_CUDA_ASSEMBLER_H

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace nag::cuda {

/// What a kernel takes of a multiprocessor, as ptxas reports it.
struct KernelResources {
  int64_t registers = 0; // per thread
  int64_t stackBytes = 0;
  int64_t spillStoreBytes = 0, spillLoadBytes = 0;
  int64_t sharedBytes = 0; // static
};

struct Cubin {
  std::string image;
  llvm::StringMap<KernelResources> kernels;
};

/// The assembler on PATH or in /usr/local/cuda/bin; nothing where there is
/// none.
std::optional<std::string> findAssembler();

/// Assembles PTX text for `chip`. Fails when there is no assembler or it
/// refuses the text, with its first line of output.
llvm::Expected<Cubin> assemble(llvm::StringRef ptx, llvm::StringRef chip);

/// Reads what `ptxas -v` prints.
llvm::StringMap<KernelResources> parseResources(llvm::StringRef output);

} // namespace nag::cuda

#endif // NAG_TARGET_CUDA_ASSEMBLER_H

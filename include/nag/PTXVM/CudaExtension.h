// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the PTX machine's driver library tells beyond CUDA: findings of its
// checks and counters per kernel. Resolve these names with dlsym in the loaded
// libcuda.so.1; a real driver has none of them. Callable from any thread, not
// from host callbacks.
#ifndef NAG_PTXVM_CUDAEXTENSION_H
#define NAG_PTXVM_CUDAEXTENSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NAG_PTXVM_EXTENSION_VERSION 2

/// One kind of fault at one line of one kernel, seen `count` times; the rest
/// describes the first. The texts live until nagPtxvmReset.
typedef struct NagPtxvmFinding {
  const char *kind;   // "out-of-bounds", ...
  const char *kernel; // entry name
  const char *message;
  uint32_t line; // of the PTX text
  uint32_t block[3], thread[3];
  uint64_t address; // 0 when no address is concerned
  uint64_t count;
} NagPtxvmFinding;

/// All launches of the kernels of one name since the start or nagPtxvmReset.
typedef struct NagPtxvmKernel {
  const char *name; // lives until nagPtxvmReset
  uint64_t launches;
  double seconds; // spent in them
} NagPtxvmKernel;

/// NAG_PTXVM_EXTENSION_VERSION of the library.
int nagPtxvmExtensionVersion(void);

/// Checks of the launches to come: "all", "none" or names as in
/// NAG_PTXVM_CHECKS; null leaves them as they are. `counters`: whether memory
/// traffic is counted. Returns 0, or 1 for an unknown name.
int nagPtxvmConfigure(const char *checks, int counters);

/// Whether new findings are written to standard error too, as they are at
/// first. For programs that show them themselves. Since version 2.
void nagPtxvmShowFindings(int show);

/// Distinct findings so far, and the one at `index`; 0, or 1 when out of range.
size_t nagPtxvmFindingCount(void);
int nagPtxvmGetFinding(size_t index, NagPtxvmFinding *finding);

/// Kernels launched so far, in the order of their first launch.
size_t nagPtxvmKernelCount(void);
int nagPtxvmGetKernel(size_t index, NagPtxvmKernel *kernel);

/// Names of the counters, which hold for every kernel; null when out of range.
size_t nagPtxvmCounterCount(void);
const char *nagPtxvmCounterName(size_t index);
/// The first `count` counters of a kernel; 0, or 1 when out of range. Counters
/// of memory traffic stay zero unless they were asked for.
int nagPtxvmGetCounters(size_t kernel, uint64_t *values, size_t count);

/// Why the last load or launch failed, one line; empty when none has.
const char *nagPtxvmLastMessage(void);

/// Forgets findings and kernels.
void nagPtxvmReset(void);

#ifdef __cplusplus
}
#endif

#endif // NAG_PTXVM_CUDAEXTENSION_H

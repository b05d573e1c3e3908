// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Launches and occupancy.
#include "State.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

using namespace ptxvm;
using namespace ptxvm::driver;

namespace {

struct Shape {
  Dim3 grid, block;
  unsigned sharedBytes;
};

/// Parameters as CU_LAUNCH_PARAM_* name them.
CUresult packExtra(const KernelInfo &kernel, void **extra,
                   std::vector<uint8_t> &params) {
  const void *buffer = nullptr;
  const size_t *size = nullptr;
  for (void **at = extra; *at != CU_LAUNCH_PARAM_END; at += 2) {
    if (*at == CU_LAUNCH_PARAM_BUFFER_POINTER)
      buffer = at[1];
    else if (*at == CU_LAUNCH_PARAM_BUFFER_SIZE)
      size = static_cast<const size_t *>(at[1]);
    else
      return CUDA_ERROR_INVALID_VALUE;
  }
  uint64_t padded = (kernel.paramBytes + 15) / 16 * 16;
  if (!buffer || !size || *size < kernel.paramBytes || *size > padded)
    return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(params.data(), buffer, kernel.paramBytes);
  return CUDA_SUCCESS;
}

CUresult packParams(const KernelInfo &kernel, void **pointers, void **extra,
                    std::vector<uint8_t> &params) {
  params.assign(kernel.paramBytes, 0);
  if (pointers && extra)
    return CUDA_ERROR_INVALID_VALUE;
  if (extra)
    return packExtra(kernel, extra, params);
  if (!pointers)
    return kernel.params.empty() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  for (size_t k = 0; k < kernel.params.size(); ++k) {
    if (!pointers[k])
      return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(params.data() + kernel.params[k].offset, pointers[k],
                kernel.params[k].size);
  }
  return CUDA_SUCCESS;
}

/// What the error of a finding is on a device that notices it.
CUresult codeFor(FindingKind kind) {
  switch (kind) {
  case FindingKind::OutOfBounds:
  case FindingKind::UseAfterFree:
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  case FindingKind::Misaligned:
    return CUDA_ERROR_MISALIGNED_ADDRESS;
  case FindingKind::InvalidBranch:
    return CUDA_ERROR_INVALID_PC;
  default:
    return CUDA_SUCCESS;
  }
}

/// The error that a launch leaves in its context.
CUresult stickyError(const LaunchResult &result) {
  for (const Finding &finding : result.findings)
    if (CUresult code = codeFor(finding.kind))
      return code;
  switch (result.status) {
  case LaunchStatus::IllegalAddress:
    return CUDA_ERROR_ILLEGAL_ADDRESS;
  case LaunchStatus::Misaligned:
    return CUDA_ERROR_MISALIGNED_ADDRESS;
  case LaunchStatus::AssertFailed:
    return CUDA_ERROR_ASSERT;
  case LaunchStatus::Hung:
    return CUDA_ERROR_LAUNCH_TIMEOUT;
  case LaunchStatus::Trap:
    return CUDA_ERROR_LAUNCH_FAILED;
  default:
    return CUDA_SUCCESS;
  }
}

CUresult launchFunction(Driver &state, CUctx_st &context, CUfunc_st &function,
                        const Shape &shape, void **pointers, void **extra) {
  const KernelInfo &kernel = *function.kernel;
  std::vector<uint8_t> params;
  if (CUresult wrong = packParams(kernel, pointers, extra, params))
    return wrong;
  if (shape.sharedBytes > static_cast<unsigned>(function.maxDynamicShared)) {
    state.records.lastMessage =
        "expected at most " + std::to_string(function.maxDynamicShared) +
        " bytes of dynamic shared memory for kernel '" + kernel.name +
        "', but got " + std::to_string(shape.sharedBytes);
    return CUDA_ERROR_INVALID_VALUE;
  }
  LaunchOptions options;
  options.checks = state.settings.checks;
  options.profile = state.settings.counters;
  options.threads = state.settings.threads;
  options.branchLimit = state.settings.branchLimit;
  LaunchResult result =
      ptxvm::launch(*function.module->image, kernel, shape.grid, shape.block,
                    shape.sharedBytes, params, options);
  if (!result.message.empty())
    state.records.lastMessage = result.message;
  if (result.status == LaunchStatus::InvalidValue)
    return CUDA_ERROR_INVALID_VALUE;
  if (result.status == LaunchStatus::OutOfResources)
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  if (!result.output.empty()) {
    std::fwrite(result.output.data(), 1, result.output.size(), stdout);
    std::fflush(stdout);
  }
  state.records.add(kernel.name, result, state.settings.findingsFile);
  context.error = stickyError(result);
  return CUDA_SUCCESS;
}

CUresult launchShape(CUfunction handle, const Shape &shape, CUstream stream,
                     void **pointers, void **extra) {
  return onStream(stream, [&](Driver &state, CUctx_st &context) {
    CUfunc_st *function = state.findFunction(handle);
    return function ? launchFunction(state, context, *function, shape, pointers,
                                     extra)
                    : CUDA_ERROR_INVALID_HANDLE;
  });
}

/// Blocks run to their end one after the other: what needs them all at once
/// is refused, what only tunes is accepted.
CUresult checkAttribute(const CUlaunchAttribute &attribute) {
  const auto &cluster = attribute.value.clusterDim;
  switch (static_cast<int>(attribute.id)) {
  case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    return attribute.value.cooperative ? CUDA_ERROR_NOT_SUPPORTED
                                       : CUDA_SUCCESS;
  case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
    return cluster.x == 1 && cluster.y == 1 && cluster.z == 1
               ? CUDA_SUCCESS
               : CUDA_ERROR_NOT_SUPPORTED;
  case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
  case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
    return CUDA_ERROR_NOT_SUPPORTED;
  default:
    return static_cast<unsigned>(attribute.id) <=
                   CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
  }
}

/// Blocks of a multiprocessor by threads, registers and shared memory.
int activeBlocks(const Driver &state, const CUfunc_st &function, int blockSize,
                 size_t dynamicBytes) {
  DeviceLimits limits = limitsOf(state.settings);
  if (blockSize > static_cast<int>(function.kernel->maxThreads))
    return 0;
  int threads = (blockSize + 31) / 32 * 32;
  size_t shared = function.kernel->staticSharedBytes + dynamicBytes;
  if (shared > static_cast<size_t>(limits.sharedPerBlock))
    return 0;
  int bySharing =
      limits.sharedPerMultiprocessor /
      (static_cast<int>((shared + 127) / 128 * 128) + reservedSharedPerBlock);
  int byRegisters = registersPerMultiprocessor / (threads * reportedRegisters);
  return std::min({blocksPerMultiprocessor, threadsPerMultiprocessor / threads,
                   byRegisters, bySharing});
}

template <typename Fn> CUresult onFunction(CUfunction handle, Fn body) {
  return inContext([&](Driver &state, CUctx_st &) {
    CUfunc_st *function = state.findFunction(handle);
    return function ? body(state, *function) : CUDA_ERROR_INVALID_HANDLE;
  });
}

} // namespace

CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY,
                        unsigned gridZ, unsigned blockX, unsigned blockY,
                        unsigned blockZ, unsigned sharedBytes, CUstream stream,
                        void **params, void **extra) {
  Shape shape{{gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes};
  return launchShape(function, shape, stream, params, extra);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function,
                          void **params, void **extra) {
  if (!config || (config->numAttrs && !config->attrs))
    return CUDA_ERROR_INVALID_VALUE;
  for (unsigned k = 0; k < config->numAttrs; ++k)
    if (CUresult wrong = checkAttribute(config->attrs[k]))
      return wrong;
  Shape shape{{config->gridDimX, config->gridDimY, config->gridDimZ},
              {config->blockDimX, config->blockDimY, config->blockDimZ},
              config->sharedMemBytes};
  return launchShape(function, shape, config->hStream, params, extra);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned, unsigned,
                                   unsigned, unsigned, unsigned, unsigned,
                                   unsigned, CUstream, void **) {
  return onFunction(
      function, [](Driver &, CUfunc_st &) { return CUDA_ERROR_NOT_SUPPORTED; });
}

//===----------------------------------------------------------------------===//
// Occupancy
//===----------------------------------------------------------------------===//

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int *blocks, CUfunction handle, int blockSize, size_t dynamicBytes,
    unsigned flags) {
  return onFunction(handle, [&](Driver &state, CUfunc_st &function) {
    if (!blocks || blockSize < 1 || flags > 1)
      return CUDA_ERROR_INVALID_VALUE;
    *blocks = activeBlocks(state, function, blockSize, dynamicBytes);
    return CUDA_SUCCESS;
  });
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks,
                                                     CUfunction function,
                                                     int blockSize,
                                                     size_t dynamicBytes) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
      blocks, function, blockSize, dynamicBytes, 0);
}

CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(
    int *minGrid, int *blockSize, CUfunction handle,
    CUoccupancyB2DSize dynamicBytesOf, size_t dynamicBytes, int limit,
    unsigned flags) {
  return onFunction(handle, [&](Driver &state, CUfunc_st &function) {
    if (!minGrid || !blockSize || limit < 0 || flags > 1)
      return CUDA_ERROR_INVALID_VALUE;
    int most = static_cast<int>(function.kernel->maxThreads);
    if (limit)
      most = std::min(most, limit);
    int best = 0;
    // The largest block of those that fill a multiprocessor most.
    for (int size = (most + 31) / 32 * 32; size > 0; size -= 32) {
      int threads = std::min(size, most);
      size_t bytes = dynamicBytesOf ? dynamicBytesOf(threads) : dynamicBytes;
      int blocks = activeBlocks(state, function, threads, bytes);
      if (blocks * threads <= best)
        continue;
      best = blocks * threads;
      *blockSize = threads;
      *minGrid = blocks * limitsOf(state.settings).multiprocessors;
    }
    return best ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult cuOccupancyMaxPotentialBlockSize(int *minGrid, int *blockSize,
                                          CUfunction function,
                                          CUoccupancyB2DSize dynamicBytesOf,
                                          size_t dynamicBytes, int limit) {
  return cuOccupancyMaxPotentialBlockSizeWithFlags(
      minGrid, blockSize, function, dynamicBytesOf, dynamicBytes, limit, 0);
}

CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes,
                                                 CUfunction handle, int blocks,
                                                 int blockSize) {
  return onFunction(handle, [&](Driver &state, CUfunc_st &function) {
    if (!bytes || blocks < 1 || blockSize < 1)
      return CUDA_ERROR_INVALID_VALUE;
    DeviceLimits limits = limitsOf(state.settings);
    int each = limits.sharedPerMultiprocessor / blocks / 128 * 128 -
               reservedSharedPerBlock -
               static_cast<int>(function.kernel->staticSharedBytes);
    int most = limits.sharedPerBlock -
               static_cast<int>(function.kernel->staticSharedBytes);
    *bytes = static_cast<size_t>(std::max(0, std::min(each, most)));
    return CUDA_SUCCESS;
  });
}

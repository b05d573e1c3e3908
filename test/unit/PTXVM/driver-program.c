/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* An ordinary program of the CUDA driver API: every group of functions, and */
/* what they answer to null, freed and wrong arguments. Each part prints its */
/* name; the first surprise ends it with exit code 1. With -DUSE_CUDA_H it is */
/* built against NVIDIA's header instead of ours. */
#ifdef USE_CUDA_H
#include <cuda.h>
#endif
#include "nag/PTXVM/CudaDriver.h"
#include "nag/PTXVM/CudaExtension.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WANT(wanted, call) want(wanted, call, #call, __LINE__)
#define OK(call) WANT(CUDA_SUCCESS, call)
#define TRUE(condition) holds((condition) != 0, #condition, __LINE__)

static void want(CUresult wanted, CUresult got, const char *call, int line) {
  const char *a = "?", *b = "?";
  if (wanted == got)
    return;
  cuGetErrorName(wanted, &a);
  cuGetErrorName(got, &b);
  printf("line %d: %s: expected %s, but got %s (%s)\n", line, call, a, b,
         nagPtxvmLastMessage());
  exit(1);
}

static void holds(int condition, const char *text, int line) {
  if (condition)
    return;
  printf("line %d: expected %s\n", line, text);
  exit(1);
}

static const char source[] =
    ".version 8.0\n.target sm_80\n.address_size 64\n"
    ".visible .global .align 4 .u32 table[4] = {1, 2, 3, 4};\n"
    ".extern .shared .align 16 .b8 dynamic[];\n"
    // y[i] = a * x[i] + y[i] for i < n
    ".visible .entry saxpy(.param .u64 x, .param .u64 y, .param .f32 a,\n"
    "                      .param .u32 n) {\n"
    "  .reg .pred %p<2>; .reg .b32 %r<5>; .reg .f32 %f<4>; .reg .b64 %d<4>;\n"
    "  ld.param.u64 %d0, [x]; ld.param.u64 %d1, [y];\n"
    "  ld.param.f32 %f0, [a]; ld.param.u32 %r0, [n];\n"
    "  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;\n"
    "  mad.lo.u32 %r4, %r1, %r2, %r3;\n"
    "  setp.ge.u32 %p0, %r4, %r0;\n"
    "  @%p0 bra done;\n"
    "  mul.wide.u32 %d2, %r4, 4;\n"
    "  add.u64 %d0, %d0, %d2; add.u64 %d1, %d1, %d2;\n"
    "  ld.global.f32 %f1, [%d0]; ld.global.f32 %f2, [%d1];\n"
    "  fma.rn.f32 %f3, %f0, %f1, %f2;\n"
    "  st.global.f32 [%d1], %f3;\n"
    "done: ret;\n}\n"
    // out[i] = table[i] + the bytes of dynamic shared memory
    ".visible .entry lookup(.param .u64 out) {\n"
    "  .reg .b32 %r<4>; .reg .b64 %d<5>;\n"
    "  ld.param.u64 %d0, [out]; mov.u32 %r0, %tid.x;\n"
    "  mul.wide.u32 %d1, %r0, 4; mov.u64 %d2, table;\n"
    "  add.u64 %d2, %d2, %d1; add.u64 %d0, %d0, %d1;\n"
    "  ld.global.u32 %r1, [%d2]; mov.u32 %r2, %dynamic_smem_size;\n"
    "  add.u32 %r3, %r1, %r2; st.global.u32 [%d0], %r3;\n  ret;\n}\n"
    ".visible .entry stop() { trap; }\n";

static CUmodule module;
static CUfunction saxpy, lookup, stop;

static void initialize(void) {
  int count = 0, major = 0, limit = 0, version = 0;
  CUdevice device = -1;
  char name[64], tiny[4];
  size_t bytes = 0;
  CUuuid uuid;
  WANT(CUDA_ERROR_NOT_INITIALIZED, cuDeviceGetCount(&count));
  WANT(CUDA_ERROR_INVALID_VALUE, cuInit(1));
  OK(cuInit(0));
  OK(cuInit(0));
  OK(cuDriverGetVersion(&version));
  TRUE(version >= 12000);
  OK(cuDeviceGetCount(&count));
  TRUE(count == 1);
  OK(cuDeviceGet(&device, 0));
  WANT(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, 1));
  WANT(CUDA_ERROR_INVALID_VALUE, cuDeviceGet(NULL, 0));
  OK(cuDeviceGetName(name, sizeof(name), device));
  TRUE(strstr(name, "PTX") != NULL);
  OK(cuDeviceGetName(tiny, sizeof(tiny), device));
  TRUE(strlen(tiny) == 3);
  OK(cuDeviceGetUuid_v2(&uuid, device));
  OK(cuDeviceTotalMem_v2(&bytes, device));
  TRUE(bytes >= 1 << 20);
  OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                          device));
  TRUE(major == 8 || major == 9);
  OK(cuDeviceGetAttribute(
      &limit, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device));
  TRUE(limit == (major == 8 ? 163 : 227) * 1024);
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuDeviceGetAttribute(&limit, (CUdevice_attribute)100000, device));
  WANT(CUDA_ERROR_INVALID_DEVICE,
       cuDeviceGetAttribute(&limit, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 7));
  puts("initialize");
}

static void contexts(void) {
  CUcontext primary = NULL, other = NULL, now = NULL;
  CUdeviceptr address = 0;
  CUdevice device = -1;
  unsigned flags = 0, version = 0;
  int active = 1;
  size_t value = 0;
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc_v2(&address, 4));
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuCtxPopCurrent_v2(&now));
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuDevicePrimaryCtxRelease_v2(0));
  OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
  TRUE(!active);
  OK(cuCtxCreate_v4(&other, NULL, 0, 0));
  OK(cuMemAlloc_v2(&address, 64));
  OK(cuDevicePrimaryCtxRetain(&primary, 0));
  OK(cuCtxPushCurrent_v2(primary));
  OK(cuCtxPopCurrent_v2(&now));
  TRUE(now == primary);
  OK(cuCtxGetCurrent(&now));
  TRUE(now == other);
  OK(cuCtxGetApiVersion(other, &version));
  OK(cuCtxDestroy_v2(other));
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuCtxDestroy_v2(other));
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuCtxDestroy_v2(primary));
  WANT(CUDA_ERROR_INVALID_CONTEXT, cuCtxSetCurrent((CUcontext)(size_t)64));
  OK(cuCtxSetCurrent(primary));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(address)); // went with `other`
  OK(cuCtxGetDevice(&device));
  TRUE(device == 0);
  OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096));
  OK(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
  TRUE(value == 4096);
  WANT(CUDA_ERROR_UNSUPPORTED_LIMIT, cuCtxGetLimit(&value, (CUlimit)99));
  puts("contexts");
}

static void modules(void) {
  char log[256] = "", info[64] = "x";
  CUjit_option options[] = {
      CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
      CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, (void *)sizeof(log), info, (void *)sizeof(info)};
  CUmodule bad = NULL;
  CUfunction function = NULL;
  CUdeviceptr address = 0;
  CUlibrary library = NULL;
  CUkernel kernel = NULL;
  size_t bytes = 0, offset = 0;
  unsigned count = 0;
  uint32_t entry = 0;
  int value = 0;
  const char *name = NULL;
  WANT(CUDA_ERROR_INVALID_VALUE, cuModuleLoadData(&bad, NULL));
  WANT(CUDA_ERROR_INVALID_VALUE, cuModuleLoadData(NULL, source));
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuModuleLoadDataEx(&bad, source, 1, NULL, NULL));
  WANT(CUDA_ERROR_INVALID_PTX,
       cuModuleLoadDataEx(&bad,
                          ".version 8.0\n.target sm_80\n.address_size 64\n"
                          ".entry k() {\n  frob.u32;\n}\n",
                          4, options, values));
  TRUE(strstr(log, "line 5") != NULL && strstr(log, "frob.u32") != NULL);
  TRUE((size_t)values[1] == strlen(log));
  WANT(CUDA_ERROR_INVALID_PTX, cuModuleLoadData(&bad, ""));
  WANT(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
       cuModuleLoadData(&bad, ".version 19.0\n.target sm_80\n"));
  WANT(CUDA_ERROR_NO_BINARY_FOR_GPU, cuModuleLoadData(&bad, "\177ELF\2\1\1"));
  WANT(CUDA_ERROR_FILE_NOT_FOUND, cuModuleLoad(&bad, "/nowhere/k.ptx"));
  OK(cuModuleLoadData(&module, source));
  OK(cuModuleGetFunction(&saxpy, module, "saxpy"));
  OK(cuModuleGetFunction(&lookup, module, "lookup"));
  OK(cuModuleGetFunction(&stop, module, "stop"));
  WANT(CUDA_ERROR_NOT_FOUND, cuModuleGetFunction(&function, module, "none"));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuModuleGetFunction(&function, NULL, "k"));
  WANT(CUDA_ERROR_INVALID_VALUE, cuModuleGetFunction(&function, module, NULL));
  OK(cuModuleGetFunctionCount(&count, module));
  TRUE(count == 3);
  OK(cuModuleGetGlobal_v2(&address, &bytes, module, "table"));
  TRUE(bytes == 16);
  OK(cuMemcpyDtoH_v2(&entry, address + 8, 4));
  TRUE(entry == 3);
  WANT(CUDA_ERROR_NOT_FOUND,
       cuModuleGetGlobal_v2(&address, &bytes, module, "none"));
  OK(cuFuncGetName(&name, saxpy));
  TRUE(strcmp(name, "saxpy") == 0);
  OK(cuFuncGetParamInfo(saxpy, 3, &offset, &bytes));
  TRUE(offset == 20 && bytes == 4);
  WANT(CUDA_ERROR_INVALID_VALUE, cuFuncGetParamInfo(saxpy, 4, &offset, &bytes));
  OK(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_PTX_VERSION, saxpy));
  TRUE(value == 80);
  OK(cuLibraryLoadData(&library, source, NULL, NULL, 0, NULL, NULL, 0));
  OK(cuLibraryGetKernel(&kernel, library, "saxpy"));
  OK(cuKernelGetFunction(&function, kernel));
  OK(cuLibraryUnload(library));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuKernelGetFunction(&function, kernel));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuLibraryUnload(library));
  OK(cuModuleLoadData(&bad, source));
  OK(cuModuleGetFunction(&function, bad, "stop"));
  OK(cuModuleUnload(bad));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuModuleUnload(bad));
  WANT(CUDA_ERROR_INVALID_HANDLE,
       cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
  puts("modules");
}

static void memory(void) {
  CUdeviceptr a = 0, b = 0, base = 0;
  uint32_t data[8] = {0, 1, 2, 3, 4, 5, 6, 7}, back[8];
  uint16_t halves[4];
  size_t size = 0, pitch = 0, available = 0, total = 0;
  void *pinned = NULL;
  unsigned type = 0, flags = 0;
  CUDA_MEMCPY2D rows;
  CUmemoryPool pool = NULL;
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(NULL, 4));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemAlloc_v2(&a, 0));
  WANT(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&a, (size_t)1 << 50));
  OK(cuMemAlloc_v2(&a, 32));
  OK(cuMemAllocAsync(&b, 32, NULL));
  OK(cuMemGetInfo_v2(&available, &total));
  TRUE(available < total);
  OK(cuMemcpyHtoD_v2(a, data, 32));
  OK(cuMemcpyDtoDAsync_v2(b, a, 32, NULL));
  OK(cuMemcpyDtoHAsync_v2(back, b, 32, NULL));
  TRUE(memcmp(data, back, 32) == 0);
  OK(cuMemcpy((CUdeviceptr)(size_t)back, a + 4, 4)); // direction by address
  TRUE(back[0] == 1);
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(a, data, 33));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(a + 31, data, 2));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(0, data, 4));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(a, NULL, 4));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(NULL, a, 4));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoD_v2(a, a + 4, (size_t)-1));
  OK(cuMemcpyHtoD_v2(a, NULL, 0));
  OK(cuMemsetD32_v2(a, 7, 8));
  OK(cuMemsetD16Async(a + 2, 9, 1, NULL));
  OK(cuMemcpyDtoH_v2(halves, a, 8));
  TRUE(halves[0] == 7 && halves[1] == 9 && halves[2] == 7);
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemsetD32_v2(a + 2, 7, 1));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemsetD8_v2(a, 7, 33));
  OK(cuMemGetAddressRange_v2(&base, &size, a + 9));
  TRUE(base == a && size == 32);
  OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, a + 4));
  TRUE(type == CU_MEMORYTYPE_DEVICE);
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                             (CUdeviceptr)(size_t)data));
  OK(cuMemFree_v2(a));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(a));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(0));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(b + 4));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(a, data, 4));
  WANT(CUDA_ERROR_NOT_FOUND, cuMemGetAddressRange_v2(&base, &size, a));
  OK(cuMemFreeAsync(b, NULL));
  OK(cuMemAllocPitch_v2(&a, &pitch, 12, 2, 4));
  TRUE(pitch >= 12);
  memset(&rows, 0, sizeof(rows));
  rows.srcMemoryType = CU_MEMORYTYPE_HOST;
  rows.srcHost = data;
  rows.srcPitch = 16;
  rows.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  rows.dstDevice = a;
  rows.dstPitch = pitch;
  rows.WidthInBytes = 12;
  rows.Height = 2;
  OK(cuMemcpy2D_v2(&rows));
  OK(cuMemcpyDtoH_v2(back, a + pitch, 12));
  TRUE(back[0] == 4 && back[2] == 6);
  rows.Height = 3;
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&rows));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(NULL));
  OK(cuMemFree_v2(a));
  OK(cuMemHostAlloc(&pinned, 64, CU_MEMHOSTALLOC_PORTABLE));
  memset(pinned, 1, 64);
  OK(cuMemHostGetDevicePointer_v2(&a, pinned, 0));
  OK(cuMemcpyDtoH_v2(back, a, 4));
  TRUE(back[0] == 0x01010101);
  OK(cuMemHostGetFlags(&flags, pinned));
  OK(cuMemFreeHost(pinned));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(pinned));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemFreeHost(NULL));
  OK(cuDeviceGetDefaultMemPool(&pool, 0));
  OK(cuMemAllocFromPoolAsync(&a, 16, pool, NULL));
  OK(cuMemFree_v2(a));
  WANT(CUDA_ERROR_INVALID_VALUE, cuMemPoolTrimTo(NULL, 0));
  puts("memory");
}

static int called = 0;
static void increment(void *counter) { ++*(int *)counter; }

static void streams(void) {
  CUstream stream = NULL;
  CUevent start = NULL, end = NULL, untimed = NULL;
  float milliseconds = -1;
  OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  WANT(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(&stream, 99));
  WANT(CUDA_ERROR_INVALID_VALUE, cuStreamCreate(NULL, 0));
  OK(cuEventCreate(&start, CU_EVENT_DEFAULT));
  OK(cuEventCreate(&end, CU_EVENT_DEFAULT));
  OK(cuEventCreate(&untimed, CU_EVENT_DISABLE_TIMING));
  WANT(CUDA_ERROR_INVALID_HANDLE,
       cuEventElapsedTime_v2(&milliseconds, start, end));
  OK(cuEventRecord(start, stream));
  OK(cuEventRecord(untimed, CU_STREAM_PER_THREAD));
  OK(cuEventRecord(end, stream));
  OK(cuStreamWaitEvent(stream, end, 0));
  OK(cuEventSynchronize(end));
  OK(cuEventElapsedTime_v2(&milliseconds, start, end));
  TRUE(milliseconds >= 0 && milliseconds < 1000);
  WANT(CUDA_ERROR_INVALID_HANDLE,
       cuEventElapsedTime_v2(&milliseconds, start, untimed));
  OK(cuLaunchHostFunc(stream, increment, &called));
  TRUE(called == 1);
  OK(cuStreamQuery(stream));
  OK(cuStreamDestroy_v2(stream));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuStreamDestroy_v2(stream));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuStreamSynchronize(stream));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(start, stream));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuEventRecord(NULL, NULL));
  OK(cuEventDestroy_v2(start));
  WANT(CUDA_ERROR_INVALID_HANDLE, cuEventDestroy_v2(start));
  puts("streams");
}

static void launches(void) {
  enum { n = 1000 };
  static float x[n], y[n];
  CUdeviceptr dx = 0, dy = 0;
  float a = 2;
  uint32_t count = n, table[4];
  void *params[] = {&dx, &dy, &a, &count}, *missing[] = {&dx, NULL, &a, &count};
  struct {
    CUdeviceptr x, y;
    float a;
    uint32_t n;
  } packed;
  size_t size = sizeof(packed);
  void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed,
                   CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END};
  CUlaunchConfig config;
  CUlaunchAttribute attribute;
  int k, blocks = 0, grid = 0, block = 0;
  for (k = 0; k < n; ++k) {
    x[k] = (float)k;
    y[k] = 1;
  }
  OK(cuMemAlloc_v2(&dx, sizeof(x)));
  OK(cuMemAlloc_v2(&dy, sizeof(y)));
  OK(cuMemcpyHtoD_v2(dx, x, sizeof(x)));
  OK(cuMemcpyHtoD_v2(dy, y, sizeof(y)));
  OK(cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, NULL, params, NULL));
  OK(cuCtxSynchronize());
  packed.x = dx;
  packed.y = dy;
  packed.a = 1;
  packed.n = n;
  OK(cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
  OK(cuMemcpyDtoH_v2(y, dy, sizeof(y)));
  for (k = 0; k < n; ++k)
    TRUE(y[k] == 3.0f * (float)k + 1);
  size = 8;
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
  size = sizeof(packed) + 64;
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, NULL, NULL, extra));
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, NULL, params, extra));
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, NULL, missing, NULL));
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, NULL, NULL, NULL));
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(saxpy, 0, 1, 1, 128, 1, 1, 0, NULL, params, NULL));
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(saxpy, 1, 70000, 1, 1, 1, 1, 0, NULL, params, NULL));
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(saxpy, 1, 1, 1, 2048, 1, 1, 0, NULL, params, NULL));
  WANT(CUDA_ERROR_INVALID_HANDLE,
       cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
  WANT(CUDA_ERROR_INVALID_HANDLE,
       cuLaunchKernel(saxpy, 1, 1, 1, 1, 1, 1, 0, (CUstream)&a, params, NULL));
  params[0] = &dx;
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuLaunchKernel(lookup, 1, 1, 1, 4, 1, 1, 50000, NULL, params, NULL));
  OK(cuFuncSetAttribute(lookup, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                        50000));
  WANT(CUDA_ERROR_INVALID_VALUE,
       cuFuncSetAttribute(
           lookup, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 1 << 20));
  memset(&config, 0, sizeof(config));
  memset(&attribute, 0, sizeof(attribute));
  config.gridDimX = config.gridDimY = config.gridDimZ = 1;
  config.blockDimX = 4;
  config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = 50000;
  config.attrs = &attribute;
  config.numAttrs = 1;
  attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
  OK(cuLaunchKernelEx(&config, lookup, params, NULL));
  OK(cuMemcpyDtoH_v2(table, dx, sizeof(table)));
  TRUE(table[0] == 50001 && table[3] == 50004);
  attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  attribute.value.clusterDim.x = 2;
  attribute.value.clusterDim.y = attribute.value.clusterDim.z = 1;
  WANT(CUDA_ERROR_NOT_SUPPORTED,
       cuLaunchKernelEx(&config, lookup, params, NULL));
  WANT(CUDA_ERROR_INVALID_VALUE, cuLaunchKernelEx(NULL, lookup, params, NULL));
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, lookup, 256, 40000));
  TRUE(blocks >= 3 && blocks <= 5);
  OK(cuOccupancyMaxPotentialBlockSize(&grid, &block, saxpy, NULL, 0, 0));
  TRUE(block == 1024 && grid >= 108);
  OK(cuMemFree_v2(dx));
  OK(cuMemFree_v2(dy));
  puts("launches");
}

static void faults(void) {
  CUdeviceptr dx = 0, dy = 0;
  CUcontext primary = NULL;
  float a = 2;
  uint32_t n = 32;
  void *params[] = {&dx, &dy, &a, &n};
  NagPtxvmFinding finding;
  NagPtxvmKernel kernel;
  size_t k;
  TRUE(nagPtxvmFindingCount() == 0);
  OK(cuMemAlloc_v2(&dx, 128));
  OK(cuMemAlloc_v2(&dy, 124)); // one element short
  OK(cuMemsetD8_v2(dx, 0, 128));
  OK(cuMemsetD8_v2(dy, 0, 124));
  OK(cuLaunchKernel(saxpy, 1, 1, 1, 32, 1, 1, 0, NULL, params, NULL));
  WANT(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
  WANT(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemFree_v2(dx));
  TRUE(nagPtxvmFindingCount() == 2); // the load and the store
  TRUE(nagPtxvmGetFinding(0, &finding) == 0);
  TRUE(strcmp(finding.kind, "out-of-bounds") == 0 && finding.thread[0] == 31);
  TRUE(finding.address == dy + 124 && finding.count == 1);
  TRUE(nagPtxvmGetFinding(2, &finding) == 1);
  for (k = 0; k < nagPtxvmKernelCount(); ++k) {
    TRUE(nagPtxvmGetKernel(k, &kernel) == 0);
    if (strcmp(kernel.name, "saxpy") == 0)
      TRUE(kernel.launches == 3);
  }
  OK(cuDevicePrimaryCtxReset_v2(0));
  OK(cuCtxSynchronize());
  WANT(CUDA_ERROR_INVALID_HANDLE, cuModuleGetFunction(&saxpy, module, "saxpy"));
  OK(cuModuleLoadData(&module, source));
  OK(cuModuleGetFunction(&stop, module, "stop"));
  OK(cuLaunchKernel(stop, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL));
  WANT(CUDA_ERROR_LAUNCH_FAILED, cuStreamSynchronize(NULL));
  OK(cuDevicePrimaryCtxRelease_v2(0));
  WANT(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuCtxSynchronize());
  OK(cuDevicePrimaryCtxRetain(&primary, 0));
  OK(cuCtxSynchronize());
  puts("faults");
}

static void symbols(void) {
  void *function = NULL;
  const char *text = NULL;
  CUdriverProcAddressQueryResult status;
  OK(cuGetProcAddress_v2("cuMemAlloc", &function, 13000, 0, NULL));
  TRUE(function == (void *)cuMemAlloc_v2);
  OK(cuGetProcAddress_v2("cuCtxCreate", &function, 12000, 0, &status));
  TRUE(function != (void *)cuCtxCreate_v4);
  OK(cuGetProcAddress_v2("cuNothing", &function, 13000, 0, &status));
  TRUE(function == NULL && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  WANT(CUDA_ERROR_NOT_FOUND,
       cuGetProcAddress_v2("cuNothing", &function, 13000, 0, NULL));
  OK(cuGetErrorName(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
  TRUE(strcmp(text, "CUDA_ERROR_ILLEGAL_ADDRESS") == 0);
  OK(cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text));
  TRUE(strcmp(text, "out of memory") == 0);
  WANT(CUDA_ERROR_INVALID_VALUE, cuGetErrorString((CUresult)12345, &text));
  puts("symbols");
}

int main(void) {
  initialize();
  contexts();
  modules();
  memory();
  streams();
  launches();
  faults();
  symbols();
  return 0;
}

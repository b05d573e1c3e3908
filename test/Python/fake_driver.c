/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
   A library in the place of NVIDIA's driver that behaves as the environment says:
   FAKE_INIT     what cuInit returns
   FAKE_VERSION  the CUDA version, as 12040
   FAKE_MAJOR    the device's compute capability, as 8
   FAKE_MODULE   what cuModuleLoadDataEx returns
   FAKE_LAUNCH   what cuLaunchKernel and all that follows it return
   Its memory is the host's; kernels do nothing. Built with -DWITHOUT_LAUNCH it lacks cuLaunchKernel. */
#include <stdlib.h>
#include <string.h>

static int given(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text ? atoi(text) : otherwise;
}

static int broken;

int cuInit(unsigned flags) { return given("FAKE_INIT", (int)flags); }
int cuDriverGetVersion(int *version) {
  *version = given("FAKE_VERSION", 13000);
  return 0;
}
int cuGetErrorName(int error, const char **name) {
  *name = error == 100 ? "CUDA_ERROR_NO_DEVICE" : error == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR_OTHER";
  return 0;
}
int cuGetErrorString(int error, const char **text) {
  *text = error == 100 ? "no CUDA-capable device is detected" : "it went wrong";
  return 0;
}
int cuDeviceGetCount(int *count) {
  *count = 1;
  return 0;
}
int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return 0;
}
int cuDeviceGetName(char *name, int bytes, int device) {
  strncpy(name, device == 0 ? "Fake" : "", bytes);
  return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? given("FAKE_MAJOR", 8) : device;
  return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
  *context = &broken + device;
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return device; }
int cuCtxSetCurrent(void *context) { return context == 0; }
int cuModuleLoadDataEx(void **module, const void *image, unsigned options, int *names, void **values) {
  int result = given("FAKE_MODULE", 0);
  if (result)
    strcpy(values[0], "ptxas application ptx input, line 9; fatal : no such instruction\n");
  *module = (void *)image;
  return options == 2 && names ? result : 1;
}
int cuModuleUnload(void *module) { return module == 0; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  *function = (void *)name;
  return module == 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) { return !function || attribute != 8 || value < 0; }
int cuMemAlloc_v2(unsigned long long *pointer, size_t bytes) {
  *pointer = (unsigned long long)calloc(1, bytes);
  return *pointer == 0 ? 2 : 0;
}
int cuMemFree_v2(unsigned long long pointer) {
  free((void *)pointer);
  return 0;
}
int cuMemGetInfo_v2(size_t *available, size_t *total) {
  *available = *total = 0;
  return 0;
}
int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes) {
  memcpy((void *)to, from, bytes);
  return broken;
}
int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes) {
  memcpy(to, (void *)from, bytes);
  return broken;
}
int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void *stream) {
  memmove((void *)to, (void *)from, bytes);
  return stream ? broken : 1;
}
int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t count, void *stream) {
  memset((void *)to, value, count);
  return stream ? broken : 1;
}
int cuStreamCreate(void **stream, unsigned flags) {
  *stream = &broken;
  return (int)flags;
}
int cuStreamDestroy_v2(void *stream) { return stream == 0; }
int cuStreamSynchronize(void *stream) { return stream ? broken : 1; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return !stream || !event || flags; }
int cuEventCreate(void **event, unsigned flags) {
  *event = &broken;
  return flags == 2 ? 0 : 1;
}
int cuEventRecord(void *event, void *stream) { return !stream || !event; }
int cuEventElapsedTime(float *milliseconds, void *start, void *end) {
  *milliseconds = 1;
  return !start || !end;
}
int cuEventDestroy_v2(void *event) { return event == 0; }
#ifndef WITHOUT_LAUNCH
int cuLaunchKernel(void *function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY,
                   unsigned blockZ, unsigned sharedBytes, void *stream, void **arguments, void **extra) {
  (void)sharedBytes;
  broken = given("FAKE_LAUNCH", 0);
  return function && stream && arguments && !extra && gridX * gridY * gridZ * blockX * blockY * blockZ ? broken : 1;
}
#endif

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Streams and events. Work is done when it is given, so that a stream is
// always idle and an event has happened once it is recorded.
#include "State.h"

using namespace ptxvm::driver;

namespace ptxvm::driver {

bool isStream(CUctx_st &context, CUstream stream) {
  if (stream == nullptr || stream == CU_STREAM_LEGACY ||
      stream == CU_STREAM_PER_THREAD)
    return true;
  CUstream_st *found = driver().streams.find(stream);
  return found && found->context == &context;
}

} // namespace ptxvm::driver

namespace {

constexpr int leastPriority = 0, greatestPriority = -5;

/// What a handle stands for; the special streams share one description.
const CUstream_st &describe(Driver &state, CUstream stream) {
  static const CUstream_st special;
  const CUstream_st *found = state.streams.find(stream);
  return found ? *found : special;
}

template <typename Fn> CUresult onEvent(CUevent handle, Fn body) {
  return inContext([&](Driver &state, CUctx_st &) {
    CUevent_st *event = state.events.find(handle);
    return event ? body(*event) : CUDA_ERROR_INVALID_HANDLE;
  });
}

CUresult record(CUevent handle, CUstream stream) {
  return onStream(stream, [&](Driver &state, CUctx_st &context) {
    CUevent_st *event = state.events.find(handle);
    if (!event || event->context != &context)
      return CUDA_ERROR_INVALID_HANDLE;
    event->isRecorded = true;
    event->time = std::chrono::steady_clock::now();
    return CUDA_SUCCESS;
  });
}

} // namespace

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags,
                                    int priority) {
  return inContext([&](Driver &state, CUctx_st &context) {
    if (!stream || flags > CU_STREAM_NON_BLOCKING)
      return CUDA_ERROR_INVALID_VALUE;
    auto made = std::make_unique<CUstream_st>();
    made->context = &context;
    made->flags = flags;
    made->priority =
        std::min(std::max(priority, greatestPriority), leastPriority);
    made->id = state.nextId++ + 2; // 1 and 2 are the special streams
    *stream = state.streams.add(std::move(made));
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  return cuStreamCreateWithPriority(stream, flags, 0);
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  return inContext([&](Driver &state, CUctx_st &) {
    return state.streams.remove(stream) ? CUDA_SUCCESS
                                        : CUDA_ERROR_INVALID_HANDLE;
  });
}

CUresult cuStreamQuery(CUstream stream) {
  return onStream(stream, [](Driver &, CUctx_st &) { return CUDA_SUCCESS; });
}
CUresult cuStreamSynchronize(CUstream stream) { return cuStreamQuery(stream); }

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    if (flags > 1)
      return CUDA_ERROR_INVALID_VALUE;
    return state.events.find(event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
  });
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback,
                             void *userData, unsigned flags) {
  CUresult code = onStream(stream, [&](Driver &, CUctx_st &) {
    return callback && flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
  if (code == CUDA_SUCCESS)
    callback(stream, CUDA_SUCCESS, userData);
  return code;
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *userData) {
  CUresult code = onStream(stream, [&](Driver &, CUctx_st &) {
    return function ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  });
  if (code == CUDA_SUCCESS)
    function(userData);
  return code;
}

CUresult cuStreamGetPriority(CUstream stream, int *priority) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    if (!priority)
      return CUDA_ERROR_INVALID_VALUE;
    *priority = describe(state, stream).priority;
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamGetFlags(CUstream stream, unsigned *flags) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    if (!flags)
      return CUDA_ERROR_INVALID_VALUE;
    *flags = describe(state, stream).flags;
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamGetId(CUstream stream, unsigned long long *id) {
  return onStream(stream, [&](Driver &state, CUctx_st &) {
    if (!id)
      return CUDA_ERROR_INVALID_VALUE;
    *id = stream == CU_STREAM_PER_THREAD ? 2
          : state.streams.find(stream)   ? describe(state, stream).id
                                         : 1;
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamGetCtx(CUstream stream, CUcontext *result) {
  return onStream(stream, [&](Driver &, CUctx_st &context) {
    if (!result)
      return CUDA_ERROR_INVALID_VALUE;
    *result = &context;
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamGetDevice(CUstream stream, CUdevice *device) {
  return onStream(stream, [&](Driver &, CUctx_st &) {
    if (!device)
      return CUDA_ERROR_INVALID_VALUE;
    *device = 0;
    return CUDA_SUCCESS;
  });
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
  return onStream(stream, [&](Driver &, CUctx_st &) {
    if (!status)
      return CUDA_ERROR_INVALID_VALUE;
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
  });
}

//===----------------------------------------------------------------------===//
// Events
//===----------------------------------------------------------------------===//

CUresult cuEventCreate(CUevent *event, unsigned flags) {
  return inContext([&](Driver &state, CUctx_st &context) {
    if (!event || flags > 7)
      return CUDA_ERROR_INVALID_VALUE;
    if (flags & CU_EVENT_INTERPROCESS)
      return CUDA_ERROR_NOT_SUPPORTED;
    auto made = std::make_unique<CUevent_st>();
    made->context = &context;
    made->flags = flags;
    *event = state.events.add(std::move(made));
    return CUDA_SUCCESS;
  });
}

CUresult cuEventDestroy_v2(CUevent event) {
  return inContext([&](Driver &state, CUctx_st &) {
    return state.events.remove(event) ? CUDA_SUCCESS
                                      : CUDA_ERROR_INVALID_HANDLE;
  });
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  return record(event, stream);
}
CUresult cuEventRecordWithFlags(CUevent event, CUstream stream,
                                unsigned flags) {
  return flags > 1 ? CUDA_ERROR_INVALID_VALUE : record(event, stream);
}

CUresult cuEventQuery(CUevent handle) {
  return onEvent(handle, [](CUevent_st &) { return CUDA_SUCCESS; });
}
CUresult cuEventSynchronize(CUevent handle) { return cuEventQuery(handle); }

CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent first,
                               CUevent second) {
  return inContext([&](Driver &state, CUctx_st &) {
    CUevent_st *start = state.events.find(first);
    CUevent_st *end = state.events.find(second);
    if (!milliseconds)
      return CUDA_ERROR_INVALID_VALUE;
    if (!start || !end || !start->isRecorded || !end->isRecorded ||
        ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
      return CUDA_ERROR_INVALID_HANDLE;
    std::chrono::duration<float, std::milli> elapsed = end->time - start->time;
    *milliseconds = elapsed.count();
    return CUDA_SUCCESS;
  });
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Machine.h"
#include "nag/Runtime/CUDA/Driver.h"

#include "llvm/Support/DynamicLibrary.h"

using namespace llvm;
using namespace nag::profile;

Expected<Machine> Machine::load() {
  std::string path = runtime::cuda::getDriverLibrary("vm"), reason;
  auto library = sys::DynamicLibrary::getLibrary(path.c_str(), &reason);
  if (!library.isValid())
    return createStringError(runtime::cuda::explainMissing(path, reason));
  Machine machine;
  StringRef missing;
  auto lookUp = [&](auto &function, const char *name) {
    void *address = library.getAddressOfSymbol(name);
    if (!address)
      missing = name;
    function = reinterpret_cast<std::decay_t<decltype(function)>>(address);
  };
  lookUp(machine.configure, "nagPtxvmConfigure");
  lookUp(machine.countKernels, "nagPtxvmKernelCount");
  lookUp(machine.getKernel, "nagPtxvmGetKernel");
  lookUp(machine.countCounters, "nagPtxvmCounterCount");
  lookUp(machine.getName, "nagPtxvmCounterName");
  lookUp(machine.getCounters, "nagPtxvmGetCounters");
  lookUp(machine.reset, "nagPtxvmReset");
  if (!missing.empty())
    return createStringError(path +
                             ": expected the PTX machine, but it has "
                             "no " +
                             missing);
  return machine;
}

Error Machine::count() const {
  if (configure("none", /*counters=*/1) != 0)
    return createStringError("the PTX machine does not count");
  return Error::success();
}

StringMap<Counters> Machine::take() const {
  StringMap<Counters> kernels;
  std::vector<uint64_t> values(countCounters());
  for (size_t index = 0, end = countKernels(); index < end; ++index) {
    NagPtxvmKernel kernel;
    if (getKernel(index, &kernel) != 0 ||
        getCounters(index, values.data(), values.size()) != 0)
      continue;
    Counters &counters = kernels[kernel.name];
    for (auto [number, value] : enumerate(values))
      counters.set(getName(number), value);
  }
  reset();
  return kernels;
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Dialect/Nag/Transforms/Launches.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace nag;

int64_t nag::countLaunches(func::FuncOp function, LaunchCount count) {
  auto program = function->getParentOfType<ModuleOp>();
  auto countCallee = [&](StringRef name) -> int64_t {
    auto callee = program.lookupSymbol<func::FuncOp>(name);
    return callee ? countLaunches(callee, count) : 0;
  };
  int64_t launches = 0;
  function.walk([&](Operation *op) {
    if (auto launch = dyn_cast<LaunchOp>(op))
      launches += count(launch);
    else if (auto repeat = dyn_cast<RepeatOp>(op))
      launches += repeat.getCount() * countCallee(repeat.getCallee());
    else if (auto call = dyn_cast<func::CallOp>(op))
      launches += countCallee(call.getCallee());
  });
  return launches;
}

void nag::printLaunches(ModuleOp program, LaunchCount count,
                        int64_t distinctKernels) {
  for (auto function : program.getOps<func::FuncOp>())
    if (!function.isPrivate())
      llvm::outs() << "launches @" << function.getSymName() << ": "
                   << countLaunches(function, count) << '\n';
  llvm::outs() << "distinct kernels: " << distinctKernels << '\n';
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Target/CUDA/Compiler.h"
#include "nag/Conversion/NagToGPU.h"
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/Launches.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"
#include "nag/Dialect/Nag/Transforms/Precision.h"
#include "nag/Target/Lowering.h"

#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/Passes.h"

using namespace llvm;
using namespace nag;
using namespace nag::cuda;

static mlir::ModuleOp getKernelsModule(mlir::ModuleOp program) {
  return program.lookupSymbol<mlir::ModuleOp>(kKernelsModuleName);
}

mlir::gpu::GPUModuleOp LoweredProgram::getDeviceModule() const {
  return device.get().lookupSymbol<mlir::gpu::GPUModuleOp>(kDeviceModuleName);
}

/// Reads how device functions are launched before launches become calls.
static std::vector<KernelInfo> describeKernels(mlir::ModuleOp kernels) {
  StringMap<int64_t> sharedBytes;
  kernels.walk([&](mlir::gpu::LaunchFuncOp launch) {
    APInt bytes(32, 0);
    if (mlir::Value size = launch.getDynamicSharedMemorySize())
      matchPattern(size, mlir::m_ConstantInt(&bytes));
    sharedBytes[launch.getKernelName().getValue()] = bytes.getSExtValue();
  });
  std::vector<KernelInfo> infos;
  for (auto device : kernels.getOps<mlir::gpu::GPUModuleOp>())
    for (mlir::gpu::GPUFuncOp function : getDeviceKernels(device)) {
      KernelInfo info;
      info.name = function.getName().str();
      llvm::copy(*function.getKnownGridSize(), info.grid.begin());
      llvm::copy(*function.getKnownBlockSize(), info.block.begin());
      info.sharedBytes = sharedBytes.lookup(info.name);
      info.arguments = function.getNumArguments();
      info.source =
          function->getAttrOfType<mlir::StringAttr>(kSourceAttrName).str();
      if (mlir::Attribute schedule = function->getAttr(kScheduleAttrName)) {
        raw_string_ostream os(info.schedule);
        schedule.print(os);
      }
      if (auto key =
              function->getAttrOfType<mlir::StringAttr>(kLaunchKeyAttrName))
        info.key = key.str();
      if (auto cycles =
              function->getAttrOfType<mlir::IntegerAttr>(kModelCyclesAttrName))
        info.modelCycles = cycles.getInt();
      infos.push_back(std::move(info));
    }
  return infos;
}

/// Prints the launches of device functions, before they become calls.
static void reportLaunches(mlir::ModuleOp program, mlir::ModuleOp kernels) {
  int64_t functions = 0;
  for (auto device : kernels.getOps<mlir::gpu::GPUModuleOp>())
    functions += getDeviceKernels(device).size();
  auto count = [&](LaunchOp launch) {
    int64_t launches = 0;
    kernels.lookupSymbol(launch.getKernel().getLeafReference())
        ->walk([&](mlir::gpu::LaunchFuncOp) { ++launches; });
    return launches;
  };
  printLaunches(program, count, functions);
}

/// Takes the gpu.module out of the program.
static mlir::OwningOpRef<mlir::ModuleOp>
takeDeviceModule(mlir::ModuleOp kernels) {
  auto owner = mlir::OwningOpRef<mlir::ModuleOp>(
      mlir::ModuleOp::create(kernels.getLoc()));
  for (auto device :
       make_early_inc_range(kernels.getOps<mlir::gpu::GPUModuleOp>())) {
    device->remove();
    owner->push_back(device);
  }
  return owner;
}

static Error lowerKernels(mlir::ModuleOp program, const CompileOptions &options,
                          LoweredProgram &lowered) {
  mlir::ModuleOp kernels = getKernelsModule(program);
  if (!kernels)
    return Error::success();
  if (Error error = runPipeline(kernels, [&](mlir::OpPassManager &manager) {
        buildGPUSchedulePipeline(manager, options.kernels);
      }))
    return error;
  if (options.observer)
    options.observer->seeKernels(kernels);
  if (Error error = runPipeline(kernels, [&](mlir::OpPassManager &manager) {
        buildGPULaunchPipeline(manager, options.kernels);
      }))
    return error;
  lowered.kernels = describeKernels(kernels);
  if (options.plan.launches)
    reportLaunches(program, kernels);
  if (Error error = runPipeline(kernels, buildGPUCodegenPipeline))
    return error;
  lowered.scratchBytes =
      kernels->getAttrOfType<mlir::IntegerAttr>(kScratchBytesAttrName).getInt();
  lowered.device = takeDeviceModule(kernels);
  return Error::success();
}

Expected<LoweredProgram> nag::cuda::lower(mlir::ModuleOp program,
                                          const CompileOptions &options) {
  ProgramPipelineOptions plan;
  plan.copyOptionValuesFrom(options.plan);
  plan.launches = false;
  // A product's sums are in registers: ops run on them there, element by
  // element or on the heads that lanes hold together, and only what others read
  // goes to memory.
  plan.laneColumns = 32;
  if (const GPUChip *chip = lookupGPUChip(options.kernels.chip))
    plan.sharedBytes = GPUTarget{chip}.getSharedRowBytes();
  plan.keepProducts = false;
  plan.gatherRows = true;
  plan.skew = 0;
  plan.prologues = true;
  if (Error error = runPipeline(program, [&](mlir::OpPassManager &manager) {
        if (options.differentiate && needsTraining(program, options.training))
          buildTrainingPipeline(manager, options.training);
        else
          buildForwardPipeline(manager, options.training);
        // A layer's direction is carried rounded, so streams are split before.
        manager.addPass(createNagSplitStreams());
        manager.addPass(mlir::createCanonicalizerPass());
        manager.addPass(createNagHoistRoundings());
        if (options.keepRoundings)
          manager.addPass(createNagKeepRoundings());
        buildPlanPipeline(manager, plan);
      }))
    return error;
  LoweredProgram lowered;
  lowered.chip = options.kernels.chip;
  Expected<Manifest> manifest = buildManifest(program);
  if (!manifest)
    return manifest.takeError();
  lowered.manifest = std::move(*manifest);
  if (Error error = lowerKernels(program, options, lowered))
    return error;
  if (Error error = runPipeline(program, [&](mlir::OpPassManager &manager) {
        ConvertNagHostToLLVMOptions host;
        host.deviceMemory = true;
        manager.addPass(createConvertNagHostToLLVM(host));
      }))
    return error;
  return lowered;
}

static json::Object describe(const KernelInfo &kernel,
                             const StringMap<KernelResources> *resources) {
  json::Object object{{"name", kernel.name},
                      {"grid", json::Array(kernel.grid)},
                      {"block", json::Array(kernel.block)},
                      {"shared_bytes", kernel.sharedBytes},
                      {"arguments", kernel.arguments}};
  if (!kernel.schedule.empty())
    object["schedule"] = kernel.schedule;
  if (!kernel.key.empty())
    object["key"] = kernel.key;
  if (!resources)
    return object;
  KernelResources used = resources->lookup(kernel.name);
  object["registers"] = used.registers;
  object["spill_bytes"] = used.spillStoreBytes + used.spillLoadBytes;
  object["static_shared_bytes"] = used.sharedBytes;
  return object;
}

json::Value nag::cuda::toJSON(const LoweredProgram &program,
                              const StringMap<KernelResources> *resources) {
  json::Value manifest = nag::toJSON(program.manifest);
  json::Object &object = *manifest.getAsObject();
  json::Array kernels;
  for (const KernelInfo &kernel : program.kernels)
    kernels.push_back(describe(kernel, resources));
  object["target"] = "cuda";
  object["chip"] = program.chip;
  object["scratch_bytes"] = program.scratchBytes;
  object["kernels"] = std::move(kernels);
  return manifest;
}

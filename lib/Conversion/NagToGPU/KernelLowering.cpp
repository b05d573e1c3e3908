// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The buffers and launches of one kernel function.
#include "nag/Conversion/NagToGPU.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace nag;

FailureOr<GPUTarget>
GPUTarget::get(StringRef chip, bool tf32,
               function_ref<InFlightDiagnostic()> emitError) {
  const GPUChip *found = lookupGPUChip(chip);
  if (!found)
    return emitError() << "expected the chip " << listGPUChips()
                       << ", but got '" << chip << "'";
  return GPUTarget{found, tf32 ? F32Contraction::TF32 : F32Contraction::F32};
}

SmallVector<gpu::GPUFuncOp> nag::getDeviceKernels(gpu::GPUModuleOp device) {
  SmallVector<gpu::GPUFuncOp> kernels;
  for (auto function : device.getOps<gpu::GPUFuncOp>())
    if (function.isKernel())
      kernels.push_back(function);
  return kernels;
}

KernelLowering::KernelLowering(func::FuncOp sourceFunction,
                               func::FuncOp hostFunction,
                               gpu::GPUModuleOp deviceModule,
                               const GPUTarget &gpuTarget)
    : source(sourceFunction), device(deviceModule), target(gpuTarget),
      hostBuilder(hostFunction.getLoc(), hostFunction.getContext()) {
  Block *entry = hostFunction.addEntryBlock();
  buffers.map(source.getArguments(), entry->getArguments());
  hostBuilder.setInsertionPointToEnd(entry);
  auto end = func::ReturnOp::create(hostBuilder);
  hostBuilder.setInsertionPoint(end);
}

Value KernelLowering::getBuffer(Value tensor) {
  if (Value buffer = buffers.lookupOrNull(tensor))
    return buffer;
  Value buffer = computeBuffer(tensor);
  buffers.map(tensor, buffer);
  return buffer;
}

/// Where bufferization.materialize_in_destination puts a tensor of a kernel
/// function; null where it stays inside.
static Value findDestination(Value tensor) {
  for (Operation *user : tensor.getUsers())
    if (auto store = dyn_cast<bufferization::MaterializeInDestinationOp>(user))
      if (store.getSource() == tensor)
        return store.getDest();
  return Value();
}

Value KernelLowering::computeBuffer(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  Operation *op = tensor.getDefiningOp();
  if (isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op))
    return getBuffer(op->getOperand(0), type.getShape());
  if (Value destination = findDestination(tensor))
    return getBuffer(destination);
  return allocateScratch(
      MemRefType::get(type.getShape(), type.getElementType()));
}

Value KernelLowering::getBuffer(Value tensor, ArrayRef<int64_t> shape) {
  Value buffer = getBuffer(tensor);
  auto type = cast<MemRefType>(buffer.getType());
  if (type.getShape() == shape)
    return buffer;
  auto reshaped = MemRefType::get(shape, type.getElementType());
  // Row-major and static: any other shape has strides of its own.
  SmallVector<int64_t> strides = computeStrides(shape);
  return memref::ReinterpretCastOp::create(hostBuilder, reshaped, buffer,
                                           /*offset=*/0, shape, strides);
}

Value KernelLowering::allocateScratch(MemRefType type) {
  return gpu::AllocOp::create(hostBuilder, type, /*asyncToken=*/Type(),
                              /*asyncDependencies=*/ValueRange(),
                              /*dynamicSizes=*/ValueRange(),
                              /*symbolOperands=*/ValueRange())
      .getMemref();
}

static gpu::KernelDim3 toValues(ImplicitLocOpBuilder &builder, Dim3 sizes) {
  auto constant = [&](int64_t size) -> Value {
    return arith::ConstantIndexOp::create(builder, size);
  };
  return {constant(sizes[0]), constant(sizes[1]), constant(sizes[2])};
}

static DenseI32ArrayAttr toAttr(Builder &builder, Dim3 sizes) {
  SmallVector<int32_t> values(sizes.begin(), sizes.end());
  return builder.getDenseI32ArrayAttr(values);
}

/// Launches of `source` so far.
static int64_t countLaunches(gpu::GPUModuleOp device, func::FuncOp source) {
  return llvm::count_if(device.getOps<gpu::GPUFuncOp>(), [&](gpu::GPUFuncOp f) {
    return f->getAttr(kSourceAttrName) == source.getSymNameAttr();
  });
}

FailureOr<ScheduleAttr> KernelLowering::follow(const LaunchModel &model) {
  FailureOr<ScheduleAttr> schedule = getSchedule(model);
  if (failed(schedule))
    return failure();
  followed = {
      hostBuilder.getNamedAttr(kScheduleAttrName, *schedule),
      hostBuilder.getNamedAttr(kLaunchKeyAttrName,
                               hostBuilder.getStringAttr(model.getKey())),
      hostBuilder.getNamedAttr(
          kModelCyclesAttrName,
          hostBuilder.getI64IntegerAttr(static_cast<int64_t>(
              std::llround(model.estimate(*schedule).cycles))))};
  return schedule;
}

FailureOr<unsigned> nag::emitPlanned(KernelLowering &kernel,
                                     FailureOr<LaunchPlan> plan,
                                     function_ref<void(ScheduleAttr)> emit) {
  if (failed(plan))
    return failure();
  if (plan->numOps == 0)
    return 0u;
  FailureOr<ScheduleAttr> schedule = kernel.follow(*plan->model);
  if (failed(schedule))
    return failure();
  emit(*schedule);
  return plan->numOps;
}

void KernelLowering::showFollowed(gpu::GPUFuncOp function) {
  for (NamedAttribute attribute : followed)
    function->setAttr(attribute.getName(), attribute.getValue());
  // The estimate is that of all launches together.
  llvm::erase_if(followed, [](NamedAttribute attribute) {
    return attribute.getName() == kModelCyclesAttrName;
  });
}

Value DeviceFunction::addShared(Type element, int64_t length) {
  constexpr int64_t space = 3, widestAccess = 16;
  auto type = MemRefType::get({length}, element, MemRefLayoutAttrInterface(),
                              builder.getI64IntegerAttr(space));
  unsigned number = function.getNumWorkgroupAttributions();
  Value memory = function.addWorkgroupAttribution(type, builder.getLoc());
  function.setWorkgroupAttributionAttr(number,
                                       LLVM::LLVMDialect::getAlignAttrName(),
                                       builder.getI64IntegerAttr(widestAccess));
  return memory;
}

DeviceFunction KernelLowering::createLaunch(StringRef suffix,
                                            ValueRange operands, Dim3 grid,
                                            Dim3 block,
                                            int64_t dynamicSharedBytes) {
  Location loc = hostBuilder.getLoc();
  OpBuilder moduleBuilder = OpBuilder::atBlockEnd(device.getBody());
  auto type = moduleBuilder.getFunctionType(operands.getTypes(), {});
  std::string name = source.getName().str();
  if (!suffix.empty())
    name += ("_" + suffix).str();
  else if (int64_t earlier = countLaunches(device, source))
    // Kernel functions are numbered too.
    name += "_part" + std::to_string(earlier + 1);
  auto function = gpu::GPUFuncOp::create(moduleBuilder, loc, name, type);
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(),
                    moduleBuilder.getUnitAttr());
  function->setAttr(kSourceAttrName, source.getSymNameAttr());
  function.setKnownBlockSizeAttr(toAttr(moduleBuilder, block));
  function.setKnownGridSizeAttr(toAttr(moduleBuilder, grid));
  showFollowed(function);
  SymbolTable(device).insert(function);

  Value sharedBytes;
  if (dynamicSharedBytes > 0)
    sharedBytes = arith::ConstantIntOp::create(
        hostBuilder, hostBuilder.getI32Type(), dynamicSharedBytes);
  gpu::LaunchFuncOp::create(hostBuilder, function, toValues(hostBuilder, grid),
                            toValues(hostBuilder, block), sharedBytes,
                            operands);

  ImplicitLocOpBuilder builder(loc, loc.getContext());
  builder.setInsertionPointToEnd(&function.getBody().front());
  auto end = gpu::ReturnOp::create(builder);
  builder.setInsertionPoint(end);
  auto arguments = function.getArguments().take_front(operands.size());
  return {function, builder, llvm::to_vector_of<Value>(arguments)};
}

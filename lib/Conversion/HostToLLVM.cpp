// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -convert-nag-host-to-llvm: the planned host program as LLVM functions.
#include "DeviceRuntime.h"
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/HostOps.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/TypeSwitch.h"

namespace nag {
#define GEN_PASS_DEF_CONVERTNAGHOSTTOLLVM
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

std::string nag::getEntrySymbol(StringRef function) {
  return ("nag_" + function).str();
}

static int64_t bytesOf(Value value) { return getTypeBytes(value.getType()); }

namespace {
/// The parts of a nag.repeat's loop that its iterations share.
struct RepeatLoop {
  Block *body = nullptr;
  Value counter, index;
  /// Per carry that alternates, three block arguments: what is read, what is
  /// written, and what is written next. Empty for the others.
  SmallVector<SmallVector<Value, 3>> carries;
};

/// Lowers one host function: tensors become pointers, calls and launches pass
/// them on.
class FunctionLowering {
public:
  /// `deviceRuntime` is null where buffers are host memory.
  FunctionLowering(func::FuncOp hostFunction, SymbolTable &programSymbols,
                   LLVM::LLVMFuncOp lowered, DeviceRuntime *deviceRuntime);

  LogicalResult run();

private:
  LogicalResult lowerLaunch(LaunchOp op);
  void lowerRepeat(RepeatOp op);
  RepeatLoop beginLoop(RepeatOp op, func::FuncOp callee);
  void endLoop(RepeatOp op, const RepeatLoop &loop);
  Value getNextSlice(RepeatOp op, const RepeatLoop &loop, Value stack,
                     unsigned carry);
  void lowerCall(func::CallOp op);
  void lowerCopy(CopyOp op);

  Value getPointer(Value tensor);
  Value computePointer(Value tensor);
  Value getSlotPointer(Attribute slot);
  Value getGlobal(arith::ConstantOp constant);
  Value advance(Value pointer, int64_t bytes);
  Value advance(Value pointer, Value index, int64_t stride);
  Value constant(int64_t value);
  void callHost(func::FuncOp callee, ArrayRef<Value> buffers, Attribute slot,
                Value pointerArray);
  Value allocatePointerArray(unsigned count);

  func::FuncOp function;
  SymbolTable &symbols;
  LLVM::LLVMFuncOp target;
  DeviceRuntime *device;
  ImplicitLocOpBuilder builder;
  Type pointerType;
  Block *entry;
  SmallVector<Value> arguments;
  Value workspace;
  DenseMap<Value, Value> pointers;
};

} // namespace

FunctionLowering::FunctionLowering(func::FuncOp hostFunction,
                                   SymbolTable &programSymbols,
                                   LLVM::LLVMFuncOp lowered,
                                   DeviceRuntime *deviceRuntime)
    : function(hostFunction), symbols(programSymbols), target(lowered),
      device(deviceRuntime),
      builder(hostFunction.getLoc(), hostFunction.getContext()),
      pointerType(LLVM::LLVMPointerType::get(hostFunction.getContext())),
      entry(target.addEntryBlock(builder)) {
  builder.setInsertionPointToStart(entry);
  workspace = entry->getArgument(1);
  unsigned count = function.getNumArguments();
  for (unsigned buffer : getResultBuffers(function))
    count = std::max(count, buffer + 1);
  for (unsigned index = 0; index < count; ++index)
    arguments.push_back(LLVM::LoadOp::create(
        builder, pointerType,
        advance(entry->getArgument(0), index * sizeof(void *))));
  for (BlockArgument argument : function.getArguments())
    pointers[argument] = arguments[argument.getArgNumber()];
}

LogicalResult FunctionLowering::run() {
  for (Operation &op : function.getBody().front()) {
    builder.setLoc(op.getLoc());
    LogicalResult result =
        llvm::TypeSwitch<Operation *, LogicalResult>(&op)
            .Case([&](LaunchOp launch) { return lowerLaunch(launch); })
            .Case(
                [&](RepeatOp repeat) { return lowerRepeat(repeat), success(); })
            .Case([&](func::CallOp call) { return lowerCall(call), success(); })
            .Case([&](CopyOp copy) { return lowerCopy(copy), success(); })
            .Case([&](func::ReturnOp) {
              LLVM::ReturnOp::create(builder, ValueRange());
              return success();
            })
            .Default([](Operation *) { return success(); });
    if (failed(result))
      return failure();
  }
  return success();
}

Value FunctionLowering::constant(int64_t value) {
  return LLVM::ConstantOp::create(builder, builder.getI64Type(),
                                  builder.getI64IntegerAttr(value));
}

Value FunctionLowering::advance(Value pointer, int64_t bytes) {
  return bytes == 0 ? pointer : advance(pointer, constant(bytes), 1);
}

Value FunctionLowering::advance(Value pointer, Value index, int64_t stride) {
  if (stride != 1)
    index = LLVM::MulOp::create(builder, index, constant(stride));
  return LLVM::GEPOp::create(builder, pointerType, builder.getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{index});
}

Value FunctionLowering::getSlotPointer(Attribute attribute) {
  auto slot = cast<SlotAttr>(attribute);
  Value base = slot.getBase() == SlotBase::Workspace
                   ? workspace
                   : arguments[slot.getIndex()];
  return advance(base, slot.getOffset());
}

/// The pointer is computed in front of its first user; host functions are
/// chains of blocks that dominate all that follows.
Value FunctionLowering::getPointer(Value tensor) {
  Value &pointer = pointers[tensor];
  if (!pointer) {
    Value computed = computePointer(tensor);
    return pointers[tensor] = computed;
  }
  return pointer;
}

Value FunctionLowering::computePointer(Value tensor) {
  auto result = cast<OpResult>(tensor);
  Operation *op = result.getOwner();
  if (auto slots = op->getAttrOfType<ArrayAttr>(kSlotsAttrName))
    return getSlotPointer(slots[result.getResultNumber()]);
  if (auto constantOp = dyn_cast<arith::ConstantOp>(op))
    return getGlobal(constantOp);
  ViewPart view = getViewParts(op)->front();
  return advance(getPointer(view.whole), view.offset);
}

Value FunctionLowering::getGlobal(arith::ConstantOp constantOp) {
  auto value = cast<DenseElementsAttr>(constantOp.getValue());
  int64_t count = value.getNumElements();
  auto flat = RankedTensorType::get({count}, value.getElementType());
  OpBuilder moduleBuilder(target);
  auto global = LLVM::GlobalOp::create(
      moduleBuilder, constantOp.getLoc(),
      LLVM::LLVMArrayType::get(value.getElementType(), count),
      /*isConstant=*/true, LLVM::Linkage::Internal, "nag_constant",
      value.reshape(flat), /*alignment=*/64);
  symbols.insert(global);
  Value address = LLVM::AddressOfOp::create(builder, global);
  if (!device)
    return address;
  return device->constant(builder, address,
                          constant(bytesOf(constantOp.getResult())));
}

LogicalResult FunctionLowering::lowerLaunch(LaunchOp op) {
  auto kernel = SymbolTable::lookupNearestSymbolFrom<LLVM::LLVMFuncOp>(
      op, op.getKernelAttr());
  if (!kernel)
    return op.emitOpError("expected a kernel lowered to an llvm.func, but ")
           << op.getKernel() << " is none";
  SmallVector<Value> buffers;
  for (Value value : llvm::concat<Value>(op->getOperands(), op->getResults()))
    buffers.push_back(getPointer(value));
  if (kernel.getNumArguments() != buffers.size())
    return op.emitOpError("expected a kernel that takes ")
           << buffers.size() << " pointers, but got "
           << kernel.getNumArguments() << " arguments";
  LLVM::CallOp::create(builder, kernel, buffers);
  return success();
}

void FunctionLowering::lowerCopy(CopyOp op) {
  Value to = getPointer(op.getResult()), from = getPointer(op.getInput());
  Value bytes = constant(bytesOf(op.getInput()));
  if (device)
    device->copy(builder, to, from, bytes);
  else
    LLVM::MemmoveOp::create(builder, to, from, bytes, /*isVolatile=*/false);
}

Value FunctionLowering::allocatePointerArray(unsigned count) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(entry);
  return LLVM::AllocaOp::create(builder, pointerType, pointerType,
                                constant(count));
}

void FunctionLowering::callHost(func::FuncOp callee, ArrayRef<Value> buffers,
                                Attribute slot, Value pointerArray) {
  for (auto [index, buffer] : llvm::enumerate(buffers))
    LLVM::StoreOp::create(builder, buffer,
                          advance(pointerArray, index * sizeof(void *)));
  LLVM::CallOp::create(builder, TypeRange(), getEntrySymbol(callee.getName()),
                       ValueRange{pointerArray, getSlotPointer(slot)});
}

/// The buffers of `callee`'s results that stand in none of its arguments.
template <typename GetBuffer>
static void appendResultBuffers(func::FuncOp callee,
                                SmallVectorImpl<Value> &buffers,
                                GetBuffer getBuffer) {
  for (auto [index, buffer] : llvm::enumerate(getResultBuffers(callee)))
    if (buffer >= callee.getNumArguments())
      buffers.push_back(getBuffer(index));
}

void FunctionLowering::lowerCall(func::CallOp op) {
  auto callee = symbols.lookup<func::FuncOp>(op.getCallee());
  SmallVector<Value> buffers;
  for (Value operand : op.getOperands())
    buffers.push_back(getPointer(operand));
  appendResultBuffers(callee, buffers, [&](unsigned index) {
    return getPointer(op.getResult(index));
  });
  callHost(callee, buffers, op->getAttr(kCalleeSlotAttrName),
           allocatePointerArray(buffers.size()));
}

static int64_t sliceBytes(Value stack) {
  return bytesOf(stack) / cast<RankedTensorType>(stack.getType()).getDimSize(0);
}

/// Starts the loop: from here on the builder stands in its body.
RepeatLoop FunctionLowering::beginLoop(RepeatOp op, func::FuncOp callee) {
  unsigned numCarry = op.getCarry().size();
  auto slots = op->getAttrOfType<ArrayAttr>(kCarrySlotsAttrName);
  RepeatLoop loop;
  SmallVector<Value> starts{constant(0)};
  loop.carries.resize(numCarry);
  for (unsigned carry = 0; carry < numCarry; ++carry) {
    if (callee.getResultAttr(carry, kForwardsAttrName) ||
        isUpdated(callee, carry) || findStackOf(callee, carry, numCarry))
      continue;
    Value first = getSlotPointer(slots[2 * carry]);
    Value second = getSlotPointer(slots[2 * carry + 1]);
    llvm::append_values(starts, getPointer(op.getCarry()[carry]), first,
                        second);
    loop.carries[carry].resize(3);
  }
  SmallVector<Type> types{builder.getI64Type()};
  types.append(starts.size() - 1, pointerType);
  Block *before = builder.getInsertionBlock();
  loop.body =
      builder.createBlock(&target.getBody(), target.getBody().end(), types,
                          SmallVector<Location>(types.size(), op.getLoc()));
  builder.setInsertionPointToEnd(before);
  LLVM::BrOp::create(builder, starts, loop.body);
  builder.setInsertionPointToStart(loop.body);
  ArrayRef<BlockArgument> blockArguments = loop.body->getArguments();
  loop.index = loop.counter = blockArguments.consume_front();
  for (SmallVector<Value, 3> &carry : loop.carries)
    for (Value &pointer : carry)
      pointer = blockArguments.consume_front();
  if (op.getReverse())
    loop.index =
        LLVM::SubOp::create(builder, constant(op.getCount() - 1), loop.index);
  return loop;
}

/// Ends the body: what this iteration wrote is what the next reads.
void FunctionLowering::endLoop(RepeatOp op, const RepeatLoop &loop) {
  Value next = LLVM::AddOp::create(builder, loop.counter, constant(1));
  SmallVector<Value> values{next};
  for (const SmallVector<Value, 3> &carry : loop.carries)
    if (!carry.empty())
      llvm::append_values(values, carry[1], carry[2], carry[1]);
  Value more = LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::ult, next,
                                    constant(op.getCount()));
  Block *body = builder.getInsertionBlock();
  Block *exit = builder.createBlock(&target.getBody(), target.getBody().end());
  builder.setInsertionPointToEnd(body);
  LLVM::CondBrOp::create(builder, more, loop.body, values, exit, ValueRange());
  builder.setInsertionPointToStart(exit);
}

/// Where an iteration writes carry `carry`, whose values `stack` holds: the
/// next one's slice, and at last the result.
Value FunctionLowering::getNextSlice(RepeatOp op, const RepeatLoop &loop,
                                     Value stack, unsigned carry) {
  Value result = getPointer(op->getResult(carry));
  if (op.getCount() == 1)
    return result;
  int64_t bytes = sliceBytes(stack);
  Value next = advance(advance(getPointer(stack), loop.counter, bytes), bytes);
  auto slots = op->getAttrOfType<ArrayAttr>(kSlotsAttrName);
  auto last = cast<SlotAttr>(slots[carry]);
  auto first = cast<SlotAttr>(slots[cast<OpResult>(stack).getResultNumber()]);
  if (last.getBase() == first.getBase() &&
      last.getIndex() == first.getIndex() &&
      last.getOffset() == first.getOffset() + bytesOf(stack))
    return next;
  Value isLast =
      LLVM::ICmpOp::create(builder, LLVM::ICmpPredicate::eq, loop.counter,
                           constant(op.getCount() - 1));
  return LLVM::SelectOp::create(builder, isLast, result, next);
}

void FunctionLowering::lowerRepeat(RepeatOp op) {
  auto callee = symbols.lookup<func::FuncOp>(op.getCallee());
  unsigned numCarry = op.getCarry().size();
  // Pointers that do not change are computed in front of the loop.
  for (Value value : llvm::concat<Value>(op->getOperands(), op->getResults()))
    getPointer(value);
  Value pointerArray =
      allocatePointerArray(callee.getNumArguments() + callee.getNumResults());
  RepeatLoop loop = beginLoop(op, callee);
  Value stackIndex =
      op.getFirst() == 0
          ? loop.index
          : LLVM::AddOp::create(builder, loop.index, constant(op.getFirst()));
  auto stackedSlice = [&](Value stack, Value index) {
    return advance(getPointer(stack), index, sliceBytes(stack));
  };
  SmallVector<Value> buffers;
  for (unsigned carry = 0; carry < numCarry; ++carry) {
    if (auto stack = findStackOf(callee, carry, numCarry))
      buffers.push_back(stackedSlice(op->getResult(*stack), loop.index));
    else if (loop.carries[carry].empty())
      buffers.push_back(getPointer(op.getCarry()[carry]));
    else
      buffers.push_back(loop.carries[carry][0]);
  }
  for (Value stack : op.getStacked())
    buffers.push_back(stackedSlice(stack, stackIndex));
  for (Value value : op.getShared())
    buffers.push_back(getPointer(value));
  appendResultBuffers(callee, buffers, [&](unsigned index) -> Value {
    if (index >= numCarry)
      return stackedSlice(op->getResult(index), loop.index);
    auto stack = findStackOf(callee, index, numCarry);
    return stack ? getNextSlice(op, loop, op->getResult(*stack), index)
                 : loop.carries[index][1];
  });
  callHost(callee, buffers, op->getAttr(kCalleeSlotAttrName), pointerArray);
  endLoop(op, loop);
}

namespace {
struct HostToLLVMPass : nag::impl::ConvertNagHostToLLVMBase<HostToLLVMPass> {
  using ConvertNagHostToLLVMBase::ConvertNagHostToLLVMBase;

  void runOnOperation() override {
    ModuleOp program = getOperation();
    DeviceRuntime device(program);
    SmallVector<func::FuncOp> functions(program.getOps<func::FuncOp>());
    SymbolTable symbols(program);
    for (func::FuncOp function : functions)
      if (!function->hasAttr(kWorkspaceAttrName)) {
        function.emitOpError("expected a memory plan (run -nag-plan-buffers)");
        return signalPassFailure();
      }
    SmallVector<LLVM::LLVMFuncOp> lowered;
    for (func::FuncOp function : functions)
      lowered.push_back(declare(function, symbols));
    for (auto [function, target] : llvm::zip_equal(functions, lowered))
      if (failed(FunctionLowering(function, symbols, target,
                                  deviceMemory ? &device : nullptr)
                     .run()))
        return signalPassFailure();
    for (func::FuncOp function : functions)
      symbols.erase(function);
    // The runtime's functions were declared since.
    SymbolTable merged(program);
    mergeKernels(program, merged);
  }

  /// void nag_name(void **arguments, void *workspace)
  LLVM::LLVMFuncOp declare(func::FuncOp function, SymbolTable &symbols) {
    OpBuilder builder(function);
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    auto type = LLVM::LLVMFunctionType::get(
        LLVM::LLVMVoidType::get(&getContext()), {pointer, pointer});
    auto target = LLVM::LLVMFuncOp::create(
        builder, function.getLoc(), getEntrySymbol(function.getName()), type,
        function.isPrivate() ? LLVM::Linkage::Internal
                             : LLVM::Linkage::External);
    symbols.insert(target);
    return target;
  }

  /// What outlining noted on arguments (nag.shares, nag.updates, nag.row_count)
  /// has been used; LLVM IR has no place for it.
  static void dropNotes(LLVM::LLVMFuncOp kernel) {
    for (unsigned index = 0; index < kernel.getNumArguments(); ++index)
      for (StringRef note :
           {kSharesAttrName, kUpdatesAttrName, kRowCountAttrName})
        kernel.removeArgAttr(index, note);
  }

  /// Moves the kernels' module into the program; declarations of one name
  /// become one.
  void mergeKernels(ModuleOp program, SymbolTable &symbols) {
    for (ModuleOp nested : llvm::to_vector(program.getOps<ModuleOp>())) {
      if (!nested->hasAttr(kKernelsAttrName))
        continue;
      for (Operation &op : llvm::make_early_inc_range(*nested.getBody())) {
        auto symbol = dyn_cast<SymbolOpInterface>(op);
        if (symbol && symbols.lookup(symbol.getName())) {
          op.erase();
          continue;
        }
        op.remove();
        if (op.hasAttr(kKernelAttrName))
          if (auto kernel = dyn_cast<LLVM::LLVMFuncOp>(op);
              kernel && !kernel.isExternal()) {
            kernel.setLinkage(LLVM::Linkage::Internal);
            dropNotes(kernel);
          }
        if (symbol)
          symbols.insert(&op);
        else
          program.getBody()->push_back(&op);
      }
      nested.erase();
    }
  }
};
} // namespace

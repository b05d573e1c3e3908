// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// -nag-outline-kernels: nag.kernel regions become functions of their own.
#include "nag/Dialect/Nag/Transforms/Launches.h"
#include "nag/Dialect/Nag/Transforms/Passes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/IR/IRMapping.h"

namespace nag {
#define GEN_PASS_DEF_NAGOUTLINEKERNELS
#include "nag/Dialect/Nag/Transforms/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;

namespace {
/// Outlines kernels into one nested module, one function per distinct body.
class KernelOutliner {
public:
  explicit KernelOutliner(ModuleOp programModule) : program(programModule) {}

  void outline(KernelOp kernel) {
    func::FuncOp function = getFunction(kernel);
    OpBuilder builder(kernel);
    auto symbol = SymbolRefAttr::get(
        StringAttr::get(kernel.getContext(), kKernelsModuleName),
        {FlatSymbolRefAttr::get(function)});
    auto launch =
        LaunchOp::create(builder, kernel.getLoc(), kernel.getResultTypes(),
                         symbol, kernel.getInputs());
    kernel->replaceAllUsesWith(launch);
    kernel->erase();
  }

  int64_t countKernels() const {
    int64_t count = 0;
    for (auto &entry : outlined)
      count += entry.second.size();
    return count;
  }

private:
  func::FuncOp getFunction(KernelOp kernel) {
    for (auto &[other, function] : outlined[kernel.getName()])
      if (OperationEquivalence::isRegionEquivalentTo(
              &other->getRegion(0), &kernel.getBody(),
              OperationEquivalence::IgnoreLocations) &&
          other->getResultTypes() == kernel->getResultTypes() &&
          other->getAttr(kRowCountAttrName) ==
              kernel->getAttr(kRowCountAttrName))
        return function;
    func::FuncOp function = buildFunction(kernel);
    outlined[kernel.getName()].push_back(
        {OwningOpRef<Operation *>(kernel->clone()), function});
    return function;
  }

  ModuleOp getKernels() {
    if (kernels)
      return kernels;
    for (ModuleOp nested : program.getOps<ModuleOp>())
      if (nested.getSymName() == kKernelsModuleName)
        return kernels = nested;
    OpBuilder builder = OpBuilder::atBlockEnd(program.getBody());
    kernels = ModuleOp::create(builder, program.getLoc(), kKernelsModuleName);
    kernels->setAttr(kKernelsAttrName, builder.getUnitAttr());
    return kernels;
  }

  func::FuncOp buildFunction(KernelOp kernel) {
    SmallVector<Type> arguments(kernel.getInputs().getTypes());
    llvm::append_range(arguments, kernel.getResultTypes());
    OpBuilder builder(kernel.getContext());
    auto type = builder.getFunctionType(arguments, kernel.getResultTypes());
    // The suffix keeps @exp and its like free for the C library.
    auto function = func::FuncOp::create(
        kernel.getLoc(), (kernel.getName() + "_kernel").str(), type);
    function->setAttr(kKernelAttrName, builder.getUnitAttr());
    if (FloatAttr share = getExpectedShare(builder);
        share && countsRows(kernel))
      function->setAttr(kExpectedShareAttrName, share);
    SymbolTable(getKernels()).insert(function);
    markArguments(function, kernel);
    fillBody(function, kernel);
    return function;
  }

  static bool countsRows(KernelOp kernel) {
    return kernel
        .walk([](Operation *op) {
          return op->hasAttr(kRowCountAttrName) ? WalkResult::interrupt()
                                                : WalkResult::advance();
        })
        .wasInterrupted();
  }

  /// Of rows that are counted at run time, what the rate of the program's
  /// configuration leaves; null where it has none.
  FloatAttr getExpectedShare(Builder &builder) {
    auto config = program->getAttrOfType<DictionaryAttr>(kConfigAttrName);
    auto rate = config ? config.getAs<FloatAttr>("mod_rate") : FloatAttr();
    if (!rate || rate.getValueAsDouble() == 0)
      return FloatAttr();
    return builder.getF64FloatAttr(1 - rate.getValueAsDouble());
  }

  /// Inputs are never written; a destination may be an input's memory where
  /// the body allows it.
  void markArguments(func::FuncOp function, KernelOp kernel) {
    unsigned numInputs = kernel.getInputs().size();
    Builder builder(kernel.getContext());
    for (unsigned index = 0; index < numInputs; ++index)
      function.setArgAttr(index, "bufferization.writable",
                          builder.getBoolAttr(false));
    if (auto count = kernel->getAttrOfType<IntegerAttr>(kRowCountAttrName))
      function.setArgAttr(count.getInt(), kRowCountAttrName,
                          builder.getUnitAttr());
    Operation *yield = kernel.getBody().front().getTerminator();
    for (auto [index, value] : llvm::enumerate(yield->getOperands()))
      if (auto base = findBaseInput(value))
        function.setArgAttr(numInputs + index, kUpdatesAttrName,
                            builder.getI64IntegerAttr(base->getArgNumber()));
    for (auto [index, value] : llvm::enumerate(yield->getOperands()))
      if (auto input = findSharedInput(value))
        function.setArgAttr(numInputs + index, kSharesAttrName,
                            builder.getI64IntegerAttr(input->getArgNumber()));
  }

  /// The input whose other rows `value` keeps.
  static std::optional<BlockArgument> findBaseInput(Value value) {
    auto result = dyn_cast<OpResult>(value);
    auto op = result ? dyn_cast<RowwiseOpInterface>(result.getOwner())
                     : RowwiseOpInterface();
    if (!op)
      return std::nullopt;
    std::optional<unsigned> operand =
        op.getBaseOperand(result.getResultNumber());
    if (!operand)
      return std::nullopt;
    return cast<BlockArgument>(op->getOperand(*operand));
  }

  /// True when `use` reads the rows that the same index names for `writer`.
  static bool readsSameIndex(OpOperand &use, RowwiseOpInterface writer) {
    std::optional<unsigned> index = writer.getIndexOperand();
    auto reader = dyn_cast<RowwiseOpInterface>(use.getOwner());
    return index && reader && reader.getIndexOperand() &&
           reader.getOperandRole(use.getOperandNumber()) == RowRole::Indexed &&
           reader->getOperand(*reader.getIndexOperand()) ==
               writer->getOperand(*index);
  }

  /// True when `use` has read a row, for good, before `last` writes the same
  /// places of it: that is `last` itself, or what it makes are no rows.
  static bool isOver(OpOperand &use, RowwiseOpInterface last) {
    auto reader = dyn_cast<RowwiseOpInterface>(use.getOwner());
    unsigned index = use.getOperandNumber();
    if (!reader || reader.getOperandRole(index) != RowRole::Row ||
        !reader.readsInPlace(index))
      return false;
    if (reader == last)
      return true;
    return !reader.makesRows() && reader->isBeforeInBlock(last);
  }

  /// True when `writer` reads `value` once, and others before `last` writes.
  static bool isReadInPlace(Value value, RowwiseOpInterface writer,
                            RowwiseOpInterface last) {
    unsigned own = 0;
    bool othersInPlace = llvm::all_of(value.getUses(), [&](OpOperand &use) {
      if (use.getOwner() == writer.getOperation())
        return ++own == 1;
      return readsSameIndex(use, writer) || isOver(use, last);
    });
    return othersInPlace && own == 1;
  }

  /// The input whose memory `value` may overwrite: nobody needs it when the op
  /// that makes `value`, the last of a chain of ops that each may overwrite
  /// what the one before makes, writes to it.
  static std::optional<BlockArgument> findSharedInput(Value value) {
    auto last = value.getDefiningOp<RowwiseOpInterface>();
    while (auto result = dyn_cast<OpResult>(value)) {
      auto op = dyn_cast<RowwiseOpInterface>(result.getOwner());
      std::optional<unsigned> operand;
      if (op)
        operand = op.getSharedOperand(result.getResultNumber());
      if (!operand || !isReadInPlace(op->getOperand(*operand), op, last))
        return std::nullopt;
      value = op->getOperand(*operand);
    }
    return cast<BlockArgument>(value);
  }

  void fillBody(func::FuncOp function, KernelOp kernel) {
    Block *entry = function.addEntryBlock();
    unsigned numInputs = kernel.getInputs().size();
    IRMapping mapping;
    Block &body = kernel.getBody().front();
    mapping.map(body.getArguments(),
                entry->getArguments().take_front(numInputs));
    OpBuilder builder = OpBuilder::atBlockEnd(entry);
    for (Operation &op : body.without_terminator())
      builder.clone(op, mapping);
    SmallVector<Value> results;
    for (auto [value, destination] :
         llvm::zip_equal(body.getTerminator()->getOperands(),
                         entry->getArguments().drop_front(numInputs)))
      results.push_back(bufferization::MaterializeInDestinationOp::create(
                            builder, kernel.getLoc(), destination.getType(),
                            mapping.lookupOrDefault(value), destination)
                            .getResult());
    func::ReturnOp::create(builder, kernel.getLoc(), results);
  }

  using Outlined = std::pair<OwningOpRef<Operation *>, func::FuncOp>;
  ModuleOp program;
  ModuleOp kernels;
  llvm::StringMap<SmallVector<Outlined>> outlined;
};

struct OutlineKernelsPass
    : nag::impl::NagOutlineKernelsBase<OutlineKernelsPass> {
  using NagOutlineKernelsBase::NagOutlineKernelsBase;

  void runOnOperation() override {
    KernelOutliner outliner(getOperation());
    SmallVector<KernelOp> kernels;
    for (auto function : getOperation().getOps<func::FuncOp>())
      function.walk([&](KernelOp kernel) { kernels.push_back(kernel); });
    for (KernelOp kernel : kernels)
      outliner.outline(kernel);
    if (report)
      printLaunches(
          getOperation(), [](LaunchOp) { return 1; }, outliner.countKernels());
  }
};
} // namespace

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "CarriedRows.h"

#include "nag/Dialect/Nag/Transforms/HostSignature.h"
#include "nag/Interfaces/NagInterfaces.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"

using namespace mlir;
using namespace nag;

static func::FuncOp getKernel(LaunchOp launch, SymbolTableCollection &symbols) {
  auto kernel = symbols.lookupNearestSymbolFrom<func::FuncOp>(
      launch, launch.getKernelAttr());
  return kernel && !kernel.isExternal() ? kernel : func::FuncOp();
}

/// What the kernel stores as result `index`.
static Value getStored(func::FuncOp kernel, unsigned index) {
  Value value = kernel.getBody().front().getTerminator()->getOperand(index);
  auto store = value.getDefiningOp<bufferization::MaterializeInDestinationOp>();
  return store ? store.getSource() : value;
}

/// Such indices are in ascending order.
static bool isListed(Value indices, SymbolTableCollection &symbols) {
  auto result = dyn_cast<OpResult>(indices);
  auto launch = result ? dyn_cast<LaunchOp>(result.getOwner()) : LaunchOp();
  func::FuncOp kernel = launch ? getKernel(launch, symbols) : func::FuncOp();
  if (!kernel)
    return false;
  Value stored = getStored(kernel, result.getResultNumber());
  auto route = stored.getDefiningOp<RouteOp>();
  return route && stored == route.getIndices();
}

static bool isRowwise(func::FuncOp kernel) {
  return llvm::all_of(kernel.getBody().front(), [](Operation &op) {
    return isa<RowwiseOpInterface, MakeStreamOp, DirectionOp, LogNormOp,
               arith::ConstantOp, bufferization::MaterializeInDestinationOp,
               func::ReturnOp>(op);
  });
}

/// True when the memory of `input` may be that of another result, which would
/// write there.
static bool isOverwritten(func::FuncOp kernel, unsigned numInputs,
                          unsigned input, unsigned index) {
  for (unsigned other = 0; other < kernel.getNumResults(); ++other)
    for (StringRef name : {kSharesAttrName, kUpdatesAttrName}) {
      auto number =
          kernel.getArgAttrOfType<IntegerAttr>(numInputs + other, name);
      if (other != index && number && number.getInt() == input)
        return true;
    }
  return false;
}

bool nag::carryRows(LaunchOp launch, unsigned index,
                    SymbolTableCollection &symbols) {
  func::FuncOp kernel = getKernel(launch, symbols);
  if (!kernel || !isRowwise(kernel))
    return false;
  auto put = getStored(kernel, index).getDefiningOp<PutOp>();
  auto indices =
      put ? dyn_cast<BlockArgument>(put.getIndices()) : BlockArgument();
  auto rest = put ? dyn_cast<BlockArgument>(put.getRest()) : BlockArgument();
  unsigned numInputs = launch.getInputs().size();
  if (!indices || !rest ||
      isOverwritten(kernel, numInputs, rest.getArgNumber(), index) ||
      !isListed(launch.getInputs()[indices.getArgNumber()], symbols))
    return false;
  kernel.setArgAttr(numInputs + index, kCarriesAttrName,
                    UnitAttr::get(kernel.getContext()));
  return true;
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A function of generation while it is written: @logits, or a layer, with other
// shapes.
#ifndef NAG_LIB_DIALECT_NAG_TRANSFORMS_FUNCTIONCLONE_H
#define NAG_LIB_DIALECT_NAG_TRANSFORMS_FUNCTIONCLONE_H

#include "GenerationClone.h"

#include "mlir/IR/IRMapping.h"

namespace nag {

/// Keys and values, of one layer or of all.
struct LayerKeys {
  mlir::Value keys, values;
  /// Where layers share rows, which tokens they are: the indices of nag.route,
  /// or null for all tokens in order.
  mlir::Value tokens;
};

/// What says where a layer's positions are in rows that layers share.
struct RowTable {
  mlir::Value rows, counts;
};

/// One function of the new program while its body is written.
class FunctionClone {
public:
  FunctionClone(GenerationPhase chosen, const GenerationShape &sizes,
                mlir::ModuleOp program)
      : phase(chosen), shape(sizes), module(program),
        builder(program.getContext()) {}

  /// Writes @prefill or @decode.
  mlir::LogicalResult buildEntry(mlir::func::FuncOp logits);
  /// Writes a layer function for operands of these types: carry, stacks'
  /// slices, and shared values. Decoding adds the layer's caches behind the
  /// slices and the positions behind the shared values, or the table of the
  /// layer's rows and the caches.
  mlir::FailureOr<mlir::func::FuncOp>
  buildLayer(mlir::func::FuncOp layer, RepeatOp repeat, mlir::TypeRange types);

private:
  bool isDecode() const { return phase == GenerationPhase::Decode; }
  llvm::StringRef phaseName() const {
    return isDecode() ? "decode" : "prefill";
  }
  mlir::RankedTensorType indexType(llvm::ArrayRef<int64_t> dims) {
    return mlir::RankedTensorType::get(dims, builder.getI32Type());
  }
  mlir::RankedTensorType cacheType() {
    int64_t rows = shape.sharesRows() ? shape.sharedRows : shape.cacheRows;
    return mlir::RankedTensorType::get({shape.batch, rows, shape.keyWidth},
                                       shape.keyType);
  }
  int64_t countTokens() const {
    return tokenShape().first * tokenShape().second;
  }
  mlir::RankedTensorType stack(mlir::RankedTensorType slice, int64_t count) {
    llvm::SmallVector<int64_t> dims{count};
    llvm::append_range(dims, slice.getShape());
    return mlir::RankedTensorType::get(dims, slice.getElementType());
  }
  /// Tokens side by side: [batch, prompt] or [1, batch].
  std::pair<int64_t, int64_t> tokenShape() const {
    return isDecode() ? std::pair<int64_t, int64_t>(1, shape.batch)
                      : std::pair(shape.batch, shape.prompt);
  }
  mlir::func::FuncOp createFunction(llvm::StringRef name, mlir::Location loc);
  mlir::Value addArgument(mlir::func::FuncOp function, mlir::Type type,
                          llvm::StringRef name, mlir::Location loc);

  mlir::LogicalResult cloneNeeded(mlir::Block &block, mlir::ValueRange wanted);
  mlir::LogicalResult cloneOp(mlir::Operation &op);
  mlir::LogicalResult cloneInferred(mlir::Operation &op);
  mlir::LogicalResult cloneBlock(BlockOp op);
  mlir::LogicalResult cloneRepeat(RepeatOp op);
  mlir::LogicalResult cloneTable(RotaryTableOp op);
  mlir::LogicalResult cloneAttention(AttentionOp op);
  mlir::Value gatherRows(mlir::Value table);
  LayerKeys listTokens(AttentionOp op, mlir::Value key, mlir::Value value);
  mlir::Value indexConstant(mlir::Location loc, llvm::ArrayRef<int64_t> dims,
                            llvm::ArrayRef<int32_t> numbers);
  mlir::Value listAllTokens(mlir::Location loc, int64_t layers);
  void mapLayerArguments(mlir::func::FuncOp layer, RepeatOp repeat,
                         mlir::Block &body);
  void addCacheArguments(mlir::Location loc);
  mlir::LogicalResult addEntryArguments(mlir::func::FuncOp logits,
                                        mlir::func::FuncOp function);
  void finishEntry(mlir::func::FuncOp logits, mlir::func::FuncOp function);
  mlir::Value joinLayers(llvm::ArrayRef<mlir::Value> parts);

  GenerationPhase phase;
  const GenerationShape &shape;
  mlir::ModuleOp module;
  mlir::OpBuilder builder;
  mlir::IRMapping mapping;
  mlir::func::FuncOp entry;

  mlir::Value positions;
  LayerKeys caches;
  RowTable rowTable;
  /// The rotary table of all positions: an argument of @decode, computed by
  /// @prefill.
  mlir::Value cos, sin;
  bool hasTable = false;
  /// What layers return beside the carry.
  llvm::SmallVector<LayerKeys> computed;
};

} // namespace nag

#endif // NAG_LIB_DIALECT_NAG_TRANSFORMS_FUNCTIONCLONE_H

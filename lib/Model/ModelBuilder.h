// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The model functions of a configuration, built op by op: BuildModel.cpp has
// the functions and what lies outside the layers, BuildLayer.cpp one layer.
#ifndef NAG_LIB_MODEL_MODELBUILDER_H
#define NAG_LIB_MODEL_MODELBUILDER_H

#include "Parameters.h"
#include "nag/Model/Build.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/StringMap.h"

namespace nag::model {

/// A run of equal layers: one function, one nag.repeat.
struct LayerRun {
  int64_t first;
  int64_t count;
  std::optional<int64_t> window;
  bool isRouted;
};

/// A result of a model function.
using NamedType = std::pair<llvm::StringRef, mlir::Type>;

/// What the body of a layer function works with.
struct LayerScope {
  /// Parameters by ParameterSpec::getKey.
  llvm::StringMap<mlir::Value> weights;
  mlir::Value cos, sin, gateScale;
  std::optional<int64_t> window;
  /// Of a routed layer: the thresholds [2] of its sub-layers and the rate,
  /// where it takes them.
  bool isRouted = false;
  mlir::Value thresholds, rate;
};

/// What the body of a sub-layer reads: the branch's input, and, where that is
/// the rows of executed tokens, the direction of all and the route.
struct BranchInput {
  mlir::Value rows;
  mlir::Value all;
  mlir::Value indices, offsets;
};

/// What a layer returns beside the residual.
struct LayerReport {
  /// Of each sub-layer, [B, T] and [B + 1].
  llvm::SmallVector<mlir::Value> gates, offsets;
  /// Soft shares of skipping tokens, rank 0, for the auxiliary loss.
  llvm::SmallVector<mlir::Value> softSkips;
};

/// The values that every model function starts from.
struct ModelScope {
  mlir::Value tokens, targets, gateScale, thresholds, rate, auxWeight;
  llvm::StringMap<mlir::Value> weights;
  llvm::SmallVector<mlir::Value> stacks;
};

/// What running all layers leaves beside the residual: stacks of gates and
/// offsets per run, and the sum of the auxiliary losses.
struct RunReport {
  llvm::SmallVector<mlir::Value> gates, offsets;
  mlir::Value aux;
};

class ModelBuilder {
public:
  ModelBuilder(mlir::MLIRContext &context, const ModelConfig &c)
      : builder(&context), config(c), parameters(getParameters(builder, c)),
        element(getElementType(builder, c)), compute(getComputeType(element)),
        isNag(c.residual == Residual::Nag),
        usesRate(c.modPolicy == ModPolicy::Capacity && c.hasSchedule()),
        usesAux(c.isRouted() && c.modAux > 0),
        usesThresholds(c.isRouted() &&
                       (c.modPolicy != ModPolicy::Capacity || c.modAux > 0)) {}

  mlir::OwningOpRef<mlir::ModuleOp> build();

private:
  // Types and attributes.
  mlir::RankedTensorType tensor(llvm::ArrayRef<int64_t> shape,
                                mlir::Type type) {
    return mlir::RankedTensorType::get(shape, type);
  }
  mlir::RankedTensorType activations(int64_t width) {
    return tensor({config.batch, config.seq, width}, element);
  }
  mlir::RankedTensorType tokensType() {
    return tensor({config.batch, config.seq}, builder.getI32Type());
  }
  mlir::RankedTensorType tableType() {
    return tensor({config.seq, config.headDim() / 2}, compute);
  }
  mlir::RankedTensorType gatesType(int64_t layers) {
    return tensor({layers, 2, config.batch, config.seq}, compute);
  }
  mlir::RankedTensorType offsetsType(int64_t layers) {
    return tensor({layers, 2, config.batch + 1}, builder.getI32Type());
  }
  mlir::RankedTensorType thresholdsType() {
    return tensor({2 * config.layers}, compute);
  }
  mlir::RankedTensorType scalarType() { return tensor({}, compute); }
  RoutingAttr routing();
  mlir::Type residualType();
  mlir::Location named(const llvm::Twine &name);
  mlir::NamedAttribute nameAttr(llvm::StringRef name);

  // Functions.
  mlir::func::FuncOp createFunction(llvm::StringRef name,
                                    llvm::ArrayRef<mlir::Type> arguments,
                                    llvm::ArrayRef<mlir::Type> results,
                                    llvm::ArrayRef<std::string> labels);
  llvm::SmallVector<LayerRun> findRuns();
  llvm::StringRef getLayerName(const LayerRun &run);
  void buildLayer(const LayerRun &run);
  void buildLoss();
  void buildLogits();
  void buildAdapt();
  ModelScope openModelFunction(llvm::StringRef name, bool hasTargets,
                               llvm::ArrayRef<NamedType> results);

  // The model's outside.
  mlir::Value embed(const ModelScope &scope);
  mlir::Value runLayers(const ModelScope &scope, mlir::Value residual,
                        RunReport &report);
  mlir::Value stackRuns(llvm::ArrayRef<mlir::Value> runs, llvm::StringRef name);
  mlir::Value denseOffsets(int64_t layers);
  mlir::Value addAuxiliaryLoss(const ModelScope &scope, mlir::Value loss,
                               mlir::Value sum);
  mlir::Value unembed(const ModelScope &scope, mlir::Value residual);

  // One layer.
  mlir::Value
  buildSubLayer(const LayerScope &scope, llvm::StringRef name,
                mlir::Value residual,
                llvm::function_ref<mlir::Value(const BranchInput &)> branch,
                LayerReport &report);
  mlir::Value pickThreshold(const LayerScope &scope, int64_t subLayer);
  void fillBody(BlockOp block,
                llvm::function_ref<mlir::Value(const BranchInput &)> branch);
  mlir::Value addSoftSkips(llvm::ArrayRef<mlir::Value> shares, mlir::Value sum);
  mlir::Value join(llvm::ArrayRef<mlir::Value> parts, llvm::StringRef name);
  mlir::Value linear(const LayerScope &scope, mlir::Value input,
                     llvm::StringRef key);
  mlir::Value positionAndNorm(const LayerScope &scope, mlir::Value input,
                              mlir::Value indices, llvm::StringRef which,
                              int64_t heads);
  mlir::Value attention(const LayerScope &scope, const BranchInput &input);
  mlir::Value mlp(const LayerScope &scope, mlir::Value input);

  mlir::Value rmsNorm(mlir::Value input, llvm::StringRef name) {
    return RmsNormOp::create(builder, named(name), input, mlir::Value(),
                             builder.getI64IntegerAttr(1),
                             builder.getF64FloatAttr(1),
                             builder.getF64FloatAttr(config.eps));
  }

  mlir::OpBuilder builder;
  const ModelConfig &config;
  llvm::SmallVector<ParameterSpec> parameters;
  mlir::FloatType element;
  mlir::Type compute;
  bool isNag;
  /// Whether model functions take the rate of a capacity, the weight of the
  /// auxiliary loss and the thresholds.
  bool usesRate, usesAux, usesThresholds;
  mlir::ModuleOp module;
};

/// `nag.config`: the fields of the configuration; those of routing only where
/// there is any.
mlir::DictionaryAttr getConfigAttr(mlir::Builder &builder,
                                   const ModelConfig &config);

} // namespace nag::model

#endif // NAG_LIB_MODEL_MODELBUILDER_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The parameters of a model: names, shapes, initial values, groups.
#ifndef NAG_LIB_MODEL_PARAMETERS_H
#define NAG_LIB_MODEL_PARAMETERS_H

#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Model/Config.h"

#include "mlir/IR/Builders.h"

namespace nag::model {

/// What stands before the names of a layer's parameters (docs/mathematics.md
/// section 7).
inline constexpr llvm::StringLiteral kLayerPrefix = "transformer.h.{layer}.";
inline constexpr llvm::StringLiteral kEmbedding = "transformer.wte.weight";
inline constexpr llvm::StringLiteral kHead = "lm_head.weight";
inline constexpr llvm::StringLiteral kEncodeGain = "g_log_encode";

struct ParameterSpec {
  /// Of the whole parameter: stacks have the leading dimension `layers`.
  mlir::RankedTensorType type;
  ParamAttr attr;

  bool isStacked() const { return attr.isStacked(); }
  /// The type that one layer sees.
  mlir::RankedTensorType getSliceType() const;
  /// The name below kLayerPrefix: "attn.c_q.weight"; else the whole name.
  llvm::StringRef getKey() const;
  /// A name for values: "attn_c_q".
  std::string getLabel() const;
};

/// All parameters, in the order of the functions' arguments.
llvm::SmallVector<ParameterSpec> getParameters(mlir::Builder &builder,
                                               const ModelConfig &config);

/// The element type of activations and matrices.
mlir::FloatType getElementType(mlir::Builder &builder,
                               const ModelConfig &config);

/// `nag.groups`: the optimizer's settings per group of parameters.
mlir::DictionaryAttr getGroups(mlir::Builder &builder,
                               const ModelConfig &config);

} // namespace nag::model

#endif // NAG_LIB_MODEL_PARAMETERS_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// From a configuration to a model in the nag dialect, and back.
#ifndef NAG_MODEL_BUILD_H
#define NAG_MODEL_BUILD_H

#include "nag/Model/Config.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace nag::model {

/// The dialects that buildModel uses.
void loadModelDialects(mlir::MLIRContext &context);

/// Builds the model as a module with @loss(tokens [B,T], targets [B,T],
/// gate_scale, parameters) -> (loss, gates [2*layers,B,T]), @logits(tokens,
/// gate_scale, parameters) -> logits [B,T,padded_vocab] and one function per
/// kind of layer. Pre-norm models have neither gate_scale nor gates. Parameters
/// have the names of docs/mathematics.md section 7; those of layers are
/// stacked. Locations name values. The dialects must be loaded.
mlir::OwningOpRef<mlir::ModuleOp> buildModel(mlir::MLIRContext &context,
                                             const ModelConfig &config);

/// The configuration in a module's `nag.config`; fails when there is none or it
/// does not hold, naming `origin` (a file).
llvm::Expected<ModelConfig> readConfig(mlir::ModuleOp module,
                                       llvm::StringRef origin);

/// Prints a module to be read by people: values by the names of their
/// locations, lines of at most 120 columns where the text allows.
void printModel(mlir::ModuleOp module, llvm::raw_ostream &os);

} // namespace nag::model

#endif // NAG_MODEL_BUILD_H

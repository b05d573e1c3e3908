// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a compiled program says about itself (manifest.json).
#ifndef NAG_TARGET_MANIFEST_H
#define NAG_TARGET_MANIFEST_H

#include "nag/Runtime/Program.h"

#include "mlir/IR/BuiltinOps.h"

namespace nag {

/// A function, the symbol `void symbol(void **arguments, void *workspace)` that
/// runs it, and the bytes of workspace it needs, aligned to 64.
struct EntryPoint {
  runtime::FunctionInfo info;
  std::string symbol;
  int64_t workspaceBytes = 0;
};

struct Manifest {
  std::vector<EntryPoint> functions;
  std::vector<runtime::ParameterInfo> parameters;
  llvm::json::Object config;
};

/// Describes a program whose memory is planned (-nag-plan-buffers). Fails when
/// an element type has no name at run time or a name stands for two
/// parameters of different types.
llvm::Expected<Manifest> buildManifest(mlir::ModuleOp program);

/// {"functions": [{"name", "symbol", "arguments": [{"name", "dtype", "shape",
/// "access"}], "workspace_bytes"}], "parameters": [{"name", "layers", "dtype",
/// "shape", "group", "init", "constraint"}], "config": {...}}
llvm::json::Value toJSON(const Manifest &manifest);

} // namespace nag

#endif // NAG_TARGET_MANIFEST_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A program whose host functions run in this process, whatever their kernels
// run on.
#ifndef NAG_TARGET_COMPILEDPROGRAM_H
#define NAG_TARGET_COMPILEDPROGRAM_H

#include "nag/Target/Manifest.h"

#include "llvm/ADT/SmallVector.h"

#include <memory>

namespace llvm::orc {
class LLJIT;
} // namespace llvm::orc

namespace nag {

/// A function or variable that generated code names.
struct HostSymbol {
  llvm::StringRef name;
  void *address;
};

class CompiledProgram : public runtime::Program {
public:
  ~CompiledProgram() override;

  llvm::ArrayRef<runtime::FunctionInfo> functions() const override {
    return infos;
  }
  llvm::ArrayRef<runtime::ParameterInfo> parameters() const override {
    return parameterInfos;
  }
  const llvm::json::Object &config() const override { return configuration; }
  llvm::Error call(llvm::StringRef function,
                   llvm::ArrayRef<void *> arguments) override;

protected:
  CompiledProgram();

  /// Runs the host code of a function, which may leave work on the device.
  llvm::Error invoke(llvm::StringRef function,
                     llvm::ArrayRef<void *> arguments);

  /// Loads the object code of the functions that `manifest` describes and
  /// allocates their workspace on device(), which must be ready. The code finds
  /// `symbols`, then those of the shared library `libraryFile` unless that is
  /// null, then those of this process.
  llvm::Error load(Manifest manifest, llvm::SmallVector<char, 0> object,
                   llvm::ArrayRef<HostSymbol> symbols,
                   const char *libraryFile = nullptr);
  /// Gives the workspace back; for destructors of classes that own the device.
  void releaseWorkspace() { workspace = runtime::Buffer(); }
  /// Prepares the calling thread, which may be another at every call.
  virtual llvm::Error beginCall() { return llvm::Error::success(); }
  /// Waits for what a call has started; fails where that failed.
  virtual llvm::Error finishCall() { return llvm::Error::success(); }

private:
  using Entry = void (*)(void **arguments, void *workspace);

  std::vector<runtime::FunctionInfo> infos;
  std::vector<Entry> entries;
  std::vector<runtime::ParameterInfo> parameterInfos;
  llvm::json::Object configuration;
  runtime::Buffer workspace;
  std::unique_ptr<llvm::orc::LLJIT> jit;
};

} // namespace nag

#endif // NAG_TARGET_COMPILEDPROGRAM_H

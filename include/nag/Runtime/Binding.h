// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Calls of a program's functions with buffers found by argument name.
#ifndef NAG_RUNTIME_BINDING_H
#define NAG_RUNTIME_BINDING_H

#include "nag/Runtime/Parameters.h"
#include "nag/Runtime/Program.h"
#include "llvm/ADT/StringMap.h"
#include <string>
#include <vector>

namespace nag::runtime {

/// The arguments that are not parameters (tokens, loss, lr, ...), each
/// allocated when a function first needs it and then shared by all functions.
class NamedBuffers {
public:
  explicit NamedBuffers(Program &program) : device(program.device()) {}
  /// The same, with the copies of parameters (see roundParameters) of `other`,
  /// which must outlive it.
  NamedBuffers(Program &program, NamedBuffers &other)
      : device(program.device()), copies(&other) {}

  /// The buffer for an argument. Fails when the name is none that Program.h
  /// knows or when another function uses it with another type.
  llvm::Expected<void *> require(llvm::StringRef function,
                                 const TensorInfo &argument);

  /// What is known of a buffer; null before the first require of its name.
  const TensorInfo *lookup(llvm::StringRef name) const;

  /// Copies a whole buffer. It must exist.
  llvm::Error write(llvm::StringRef name, const void *host);
  llvm::Error read(llvm::StringRef name, void *host) const;
  /// Copies `bytes` bytes from byte `offset` on.
  llvm::Error readPart(llvm::StringRef name, size_t offset, size_t bytes,
                       void *host) const;

  llvm::Error writePart(llvm::StringRef name, size_t offset, size_t bytes,
                        const void *host);

  /// Sets a scalar argument; does nothing where no function takes it.
  llvm::Error writeScalar(llvm::StringRef name, double value);
  /// The value of a scalar result; NaN where no function writes it.
  llvm::Expected<double> readScalar(llvm::StringRef name) const;

private:
  struct Entry {
    TensorInfo info;
    Buffer buffer;
  };
  Device &device;
  NamedBuffers *copies = nullptr;
  llvm::StringMap<Entry> entries;
};

/// The sizes of a program's batches.
struct BatchShape {
  int64_t batch = 0, seq = 0;

  int64_t getTokens() const { return batch * seq; }
};

/// The shape of the buffer "tokens". Fails unless it is [B,T] i32 with B, T >=
/// 1 and "targets", where it exists, is the same.
llvm::Expected<BatchShape> getBatchShape(const NamedBuffers &buffers);

/// Arguments whose names begin with `prefix` are these buffers.
struct ParameterBinding {
  llvm::StringRef prefix;
  const ParameterBuffers *buffers;
};

/// A function with all its arguments bound, callable again and again.
class BoundFunction {
public:
  static llvm::Expected<BoundFunction>
  bind(Program &program, llvm::StringRef function,
       llvm::ArrayRef<ParameterBinding> parameters, NamedBuffers &others);

  llvm::Error call() const { return program->call(name, arguments); }

private:
  Program *program = nullptr;
  std::string name;
  std::vector<void *> arguments;
};

/// Calls a function of parameters alone, where the program has it.
llvm::Error callOnParameters(Program &program, llvm::StringRef function,
                             const ParameterBuffers &parameters,
                             NamedBuffers &others);
/// Makes the copies in bf16 of a program that keeps them; to be called when
/// parameters have changed by other means than "apply".
llvm::Error roundParameters(Program &program,
                            const ParameterBuffers &parameters,
                            NamedBuffers &others);

} // namespace nag::runtime

#endif // NAG_RUNTIME_BINDING_H

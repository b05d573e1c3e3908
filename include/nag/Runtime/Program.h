// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The contract between compiled programs and the code that runs them: what a
// program's functions take, what its parameters are, and how to call it. A back
// end implements Program (and Device where memory is not the host's); training,
// evaluation and generation know nothing else of the compiler.
//
// Functions of a trainable program. Arguments are found by name; a parameter
// goes by ParameterInfo::name, its gradient by "grad:" + name, its moments by
// "m:" + name and "v:" + name, its gradient accumulator by "acc:" + name.
// B = batch, T = seq, V = vocab of config(); S = sub-layers.
//
//   gradients   reads tokens [B,T] i32, targets [B,T] i32 (-1 does not count),
//               gate_scale [] (warm-up factor of alpha, docs/mathematics.md
//               section 2), the parameters; writes loss [] (mean nats per
//               counted token), gates [S,B,T] (|g| per sub-layer) and grad:*.
//   accumulate  acc += grad: reads grad:*, updates acc:*.
//   apply       updates the parameters, m:* and v:*; reads grad:*, lr [],
//               step [] (1-based), grad_scale [] (1 / accumulated batches),
//               clip [] (0: no clipping); writes grad_norm [] (global norm of
//               the scaled gradients before clipping). Restores constraints.
//   constrain   updates the parameters so that the constraints of
//               docs/mathematics.md section 6 hold; called once after
//               initialisation.
//   loss        like gradients without grad:*.
//   logits      reads tokens, gate_scale, parameters; writes logits [B,T,V].
//   norms       (optional) reads tokens, parameters; writes norms [1+S,B,T]:
//   log
//               rms of the residual, of the embedding and after each sub-layer.
//
// Programs with depth routing (Routing.h) have more. The functions that run the
// model may read thresholds [S], skip_rate [] (of a capacity decided at run
// time) and aux_weight [] (of the auxiliary loss); gradients and loss write
// offsets [S,B+1] i32, how many tokens each sub-layer executed up to each
// sequence.
//
//   adapt       thresholds = threshold_keep [S] * thresholds + threshold_step
//   [S]
//               * quantile of gates at skip_rate. Thresholds are those of full
//               gates; the model multiplies them by gate_scale.
//
// Programs without gates (the prenorm baseline) have neither gate_scale nor
// gates. Scalars are f32 (f64 where the model is).
#ifndef NAG_RUNTIME_PROGRAM_H
#define NAG_RUNTIME_PROGRAM_H

#include "nag/Runtime/Device.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nag::runtime {

/// Element types of buffers.
enum class DType { F64, F32, F16, BF16, I64, I32, I16, I8, U16, U8, Bool };

/// Bytes of one element.
size_t getByteSize(DType dtype);
/// The name in manifests and messages, MLIR's spelling: "f32", "bf16", "i32".
llvm::StringRef getName(DType dtype);
/// The name in safetensors files: "F32", "BF16", "I32".
llvm::StringRef getSafetensorsName(DType dtype);
/// The inverses; nothing when no element type has that name.
std::optional<DType> parseDType(llvm::StringRef name);
std::optional<DType> parseSafetensorsDType(llvm::StringRef name);

/// Elements of a dense tensor; 1 for a scalar (empty shape).
int64_t getNumElements(llvm::ArrayRef<int64_t> shape);
/// "4x128xf32", or "f32" for a scalar.
std::string formatType(DType dtype, llvm::ArrayRef<int64_t> shape);

/// One argument of a function: a dense row-major buffer.
struct TensorInfo {
  enum class Access { Read, Write, ReadWrite };

  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  Access access = Access::Read;

  size_t getByteSize() const {
    return getNumElements(shape) * runtime::getByteSize(dtype);
  }
};

/// How a parameter starts (docs/mathematics.md section 6).
struct Init {
  enum class Kind { Zeros, Constant, Normal, Uniform, Power };

  Kind kind = Kind::Zeros;
  /// Constant: the value of every element.
  double value = 0;
  /// Normal, Uniform: standard deviation; the mean is 0, a uniform's bounds
  /// are +-std*sqrt(3).
  double std = 0;
  /// Power: elements of layer i (from 0) are (stride * i + offset) ^ exponent.
  double exponent = 0, stride = 0, offset = 0;
};

/// A trained parameter. With layers > 0 it is a stack: the leading dimension
/// of `shape` is `layers` and `name` holds "{layer}"; checkpoints keep each
/// slice under its own name (docs/mathematics.md section 7).
struct ParameterInfo {
  std::string name;
  int64_t layers = 0;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  /// Optimizer group: "matrix", "embedding", "gate", "scalar", ...
  std::string group;
  Init init;
  /// "", "zero_mean" or "zero_mean_unit_rms", per row.
  std::string constraint;

  size_t getByteSize() const {
    return getNumElements(shape) * runtime::getByteSize(dtype);
  }
};

/// A function: one flat list of buffers, results included (Access::Write).
struct FunctionInfo {
  std::string name;
  std::vector<TensorInfo> arguments;

  /// The argument of that name, or null.
  const TensorInfo *lookup(llvm::StringRef argument) const;
};

/// A compiled program, ready to be called.
class Program {
public:
  virtual ~Program();

  virtual llvm::ArrayRef<FunctionInfo> functions() const = 0;
  virtual llvm::ArrayRef<ParameterInfo> parameters() const = 0;
  /// The model's configuration: layers, width, heads, vocab, padded_vocab, seq,
  /// batch, ... Checkpoints keep it and compare it.
  virtual const llvm::json::Object &config() const = 0;
  /// Where buffers live.
  virtual Device &device() = 0;

  /// Calls a function. `arguments` are buffers of device(), one per entry of
  /// FunctionInfo::arguments in that order; results may be read once the call
  /// has returned.
  virtual llvm::Error call(llvm::StringRef function,
                           llvm::ArrayRef<void *> arguments) = 0;

  /// Like call, but sends the work to a stream of the device (CUDA: a CUstream
  /// of its primary context, null for the default stream) and does not wait
  /// for it. The next call or enqueue comes behind it, whatever its stream. A
  /// failure of the work itself is that of a later call. Fails where the
  /// device has no streams.
  virtual llvm::Error enqueue(llvm::StringRef function,
                              llvm::ArrayRef<void *> arguments, void *stream);

  /// The function of that name, or null.
  const FunctionInfo *lookup(llvm::StringRef function) const;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_PROGRAM_H

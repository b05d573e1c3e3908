// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code with loops, f32 arithmetic and exchange between the lanes of a
// warp.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_KERNELCODE_H
#define NAG_LIB_CONVERSION_NAGTOGPU_KERNELCODE_H

#include "ThreadCode.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace nag {

class KernelCode : public ThreadCode {
public:
  using Values = llvm::SmallVector<mlir::Value>;
  using ThreadCode::ThreadCode;

  // i32 arithmetic and control flow.
  mlir::Value sub(mlir::Value a, mlir::Value b);
  mlir::Value smaller(mlir::Value a, mlir::Value b);
  mlir::Value larger(mlir::Value a, mlir::Value b);
  Values loop(mlir::Value lower, mlir::Value upper, int64_t step,
              mlir::ValueRange initial,
              llvm::function_ref<Values(mlir::Value, mlir::ValueRange)> body);
  void loop(mlir::Value lower, mlir::Value upper, int64_t step,
            llvm::function_ref<void(mlir::Value)> body);

  /// How many of `count` places, at most `room`, come before the first that
  /// does not hold; all behind that do not either. `holds` is asked for one
  /// place more than there are, too.
  mlir::Value countLeading(mlir::Value count, int64_t room,
                           llvm::function_ref<mlir::Value(mlir::Value)> holds);

  // f32 arithmetic.
  mlir::Value number(double value);
  mlir::Value addf(mlir::Value a, mlir::Value b);
  mlir::Value subf(mlir::Value a, mlir::Value b);
  mlir::Value mulf(mlir::Value a, mlir::Value b);
  mlir::Value fma(mlir::Value a, mlir::Value b, mlir::Value c);
  mlir::Value maximum(mlir::Value a, mlir::Value b);
  /// 2^x within two units in the last place; 0 far below 0.
  mlir::Value exp2(mlir::Value x);
  /// The logarithm to base 2 within 2^-22.
  mlir::Value log2(mlir::Value x);
  /// 1/x.
  mlir::Value reciprocal(mlir::Value x);
  /// Joins the values of `lanes` neighbouring lanes (a power of two, aligned);
  /// every lane has the result.
  mlir::Value
  reduce(mlir::Value value, int64_t lanes,
         llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> join,
         int64_t firstDistance = 1);

  /// The value (i32 or f32) of lane `source`, which all lanes name.
  mlir::Value shuffle(mlir::Value value, mlir::Value source);
  /// The sum of an i32 over the lanes up to this one.
  mlir::Value inclusiveSum(mlir::Value value, mlir::Value lane);

  // Memory.
  /// Loads `width` elements and turns them into f32.
  Values loadFloats(mlir::Type element, mlir::Value pointer, int64_t width);
  /// Rounds f32 values to `element` and stores them side by side.
  void storeFloats(mlir::Type element, mlir::ValueRange values,
                   mlir::Value pointer);
  /// Element `index` (i32, not negative) of a buffer of one dimension in global
  /// memory.
  mlir::Value loadAt(mlir::Type type, mlir::Value buffer, mlir::Value index);
  void storeAt(mlir::Value value, mlir::Value buffer, mlir::Value index);

private:
  mlir::Value intrinsic(llvm::StringRef name, mlir::Value x);
  mlir::Value place(mlir::Type type, mlir::Value buffer, mlir::Value index);
};

/// Lets the device function's threads have as many registers as `blocks` of its
/// blocks on a multiprocessor leave them, no fewer: the assembler otherwise
/// saves some for more blocks, and spills, or takes a few too many for as many.
void shareRegisters(mlir::gpu::GPUFuncOp function, int64_t blocks);

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_KERNELCODE_H

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What thread code that works on bytes is written with: i32 arithmetic that
// folds, pointers, loads and stores with a stated alignment.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_THREADCODE_H
#define NAG_LIB_CONVERSION_NAGTOGPU_THREADCODE_H

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {

/// Address spaces of NVPTX pointers.
enum class Space : unsigned { Global = 1, Shared = 3 };

/// Builds thread code at the place of `builder`. Integers are i32, and where
/// the first operand is an i64, i64.
class ThreadCode {
public:
  explicit ThreadCode(mlir::ImplicitLocOpBuilder &owner) : builder(owner) {}

  mlir::ImplicitLocOpBuilder &getBuilder() { return builder; }

  mlir::Value constant(int64_t value);
  mlir::Value constant64(int64_t value);
  mlir::Value zero(mlir::Type type);
  mlir::Value threadIndex();
  mlir::Value blockIndex();
  /// Lets blockIndex() be `number` from now on.
  void setBlockIndex(mlir::Value number) { block = number; }

  mlir::Value add(mlir::Value a, mlir::Value b);
  mlir::Value add(mlir::Value a, int64_t b);
  mlir::Value mul(mlir::Value a, int64_t b);
  mlir::Value div(mlir::Value a, int64_t b);
  mlir::Value rem(mlir::Value a, int64_t b);
  mlir::Value bitAnd(mlir::Value a, int64_t mask);
  mlir::Value bitXor(mlir::Value a, mlir::Value b);
  mlir::Value bitXor(mlir::Value a, int64_t b);
  mlir::Value shiftLeft(mlir::Value a, int64_t bits);
  mlir::Value shiftRight(mlir::Value a, int64_t bits);
  /// a < b, unsigned.
  mlir::Value less(mlir::Value a, int64_t b);
  mlir::Value less(mlir::Value a, mlir::Value b);
  mlir::Value both(mlir::Value a, mlir::Value b);
  mlir::Value select(mlir::Value condition, mlir::Value a, mlir::Value b);
  /// An i32 that is not negative, as i64.
  mlir::Value extend(mlir::Value a);

  /// The start of a buffer (a memref) in an address space.
  mlir::Value pointer(mlir::Value buffer, Space space);
  /// The start of the block's dynamic shared memory, aligned to 128 bytes.
  mlir::Value dynamicShared();
  /// The pointer `bytes` further: i32, not negative, or i64.
  mlir::Value offset(mlir::Value pointer, mlir::Value bytes);
  mlir::Value offset(mlir::Value pointer, int64_t bytes);
  mlir::Value load(mlir::Type type, mlir::Value pointer, unsigned alignment);
  void store(mlir::Value value, mlir::Value pointer, unsigned alignment);

  /// Builds what `body` builds under an if.
  void ifTrue(mlir::Value condition, llvm::function_ref<void()> body);
  /// The same, and what `otherwise` builds under its else.
  void ifElse(mlir::Value condition, llvm::function_ref<void()> body,
              llvm::function_ref<void()> otherwise);
  /// The values of `types` that one of the two builds.
  llvm::SmallVector<mlir::Value>
  ifElse(mlir::Value condition, mlir::TypeRange types,
         llvm::function_ref<llvm::SmallVector<mlir::Value>()> body,
         llvm::function_ref<llvm::SmallVector<mlir::Value>()> otherwise);
  /// The `count` f32 values that `body` builds under an if; else zeros.
  llvm::SmallVector<mlir::Value>
  ifTrue(mlir::Value condition, int64_t count,
         llvm::function_ref<llvm::SmallVector<mlir::Value>()> body);
  /// All threads of the block meet.
  void barrier();
  /// All lanes of the warp meet.
  void warpBarrier();

private:
  mlir::Value constantLike(mlir::Value like, int64_t value);
  /// An op that becomes a constant where it can.
  template <typename Op> mlir::Value fold(mlir::Value a, mlir::Value b);
  template <typename Op> mlir::Value fold(mlir::Value a, int64_t b);

  mlir::ImplicitLocOpBuilder &builder;
  mlir::Value block;
};

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOGPU_THREADCODE_H

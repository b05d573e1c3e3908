// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What row programs (RowwiseOpInterface::buildRow) are written with: scalar
// expressions, maps over the elements of rows, and reductions of rows. All of
// it builds linalg on small tensors, arith and math, so that any emitter can
// hold the rows where it likes.
#ifndef NAG_DIALECT_NAG_IR_ROWBUILDER_H
#define NAG_DIALECT_NAG_IR_ROWBUILDER_H

#include "mlir/IR/AffineMap.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {

/// A scalar value that builds arith and math ops when it is computed with.
/// Numbers mix in as constants of the same type. Float ops may be contracted
/// to fused multiply-adds.
class Scalar {
public:
  Scalar() = default;
  Scalar(mlir::ImplicitLocOpBuilder &owner, mlir::Value scalar)
      : builder(&owner), value(scalar) {}

  operator mlir::Value() const { return value; }
  mlir::Value get() const { return value; }
  mlir::ImplicitLocOpBuilder &getBuilder() const { return *builder; }
  mlir::Type getType() const { return value.getType(); }
  /// `number` in the type of this scalar.
  Scalar constant(double number) const;

private:
  mlir::ImplicitLocOpBuilder *builder = nullptr;
  mlir::Value value;
};

Scalar operator+(Scalar a, Scalar b);
Scalar operator-(Scalar a, Scalar b);
Scalar operator*(Scalar a, Scalar b);
Scalar operator/(Scalar a, Scalar b);
inline Scalar operator+(Scalar a, double b) { return a + a.constant(b); }
inline Scalar operator-(Scalar a, double b) { return a - a.constant(b); }
inline Scalar operator*(Scalar a, double b) { return a * a.constant(b); }
inline Scalar operator/(Scalar a, double b) { return a * (1 / b); }
inline Scalar operator-(double a, Scalar b) { return b.constant(a) - b; }
inline Scalar operator/(double a, Scalar b) { return b.constant(a) / b; }
Scalar operator-(Scalar a);

/// Comparisons give an i1; false when a float is NaN.
Scalar operator<(Scalar a, Scalar b);
inline Scalar operator>(Scalar a, Scalar b) { return b < a; }
inline Scalar operator>(Scalar a, double b) { return a.constant(b) < a; }
inline Scalar operator<(Scalar a, double b) { return a < a.constant(b); }
/// Equality of integers.
Scalar operator==(Scalar a, Scalar b);
inline Scalar operator==(Scalar a, int64_t b) {
  return a == a.constant(static_cast<double>(b));
}
Scalar select(Scalar condition, Scalar a, Scalar b);
inline Scalar select(Scalar condition, Scalar a, double b) {
  return select(condition, a, a.constant(b));
}
inline Scalar select(Scalar condition, double a, Scalar b) {
  return select(condition, b.constant(a), b);
}

/// The larger one; NaN if `a` is.
Scalar max(Scalar a, Scalar b);
Scalar min(Scalar a, Scalar b);
Scalar exp(Scalar a);
Scalar log(Scalar a);
Scalar log1p(Scalar a);
Scalar sqrt(Scalar a);
Scalar abs(Scalar a);
Scalar erf(Scalar a);
Scalar tanh(Scalar a);
Scalar sin(Scalar a);
Scalar cos(Scalar a);
Scalar pow(Scalar a, Scalar b);
/// 1 / (1 + exp(-a)), without overflow to NaN.
Scalar sigmoid(Scalar a);
/// log(1 + exp(a)), without overflow.
Scalar softplus(Scalar a);
/// 1 / a, and 0 where `a` is 0.
Scalar reciprocalOrZero(Scalar a);

/// A tensor as a map or a reduction reads it. A tensor of the rank of the
/// iteration space is read element by element, one of lower rank along the
/// last dimensions; `perGroup` and `flipped` say otherwise. A scalar stands for
/// itself in every iteration.
struct RowInput {
  RowInput(mlir::Value source) : value(source) {}
  enum class Access { Elementwise, PerGroup, Flipped };
  mlir::Value value;
  Access access = Access::Elementwise;
};
/// A tensor with one element per group, in a space [groups, width].
RowInput perGroup(mlir::Value value);
/// A tensor [groups, 2, width] with its two halves exchanged.
RowInput flipped(mlir::Value value);

/// Builds the linalg ops of a row program. Elements and scalars are brought to
/// the compute type `type` where they are floats of another.
class RowBuilder {
public:
  RowBuilder(mlir::ImplicitLocOpBuilder &owner, mlir::Type elementType);

  using Elements = llvm::ArrayRef<Scalar>;
  using MapFn = llvm::function_ref<Scalar(Elements)>;
  using MultiFn = llvm::function_ref<llvm::SmallVector<Scalar>(Elements)>;

  /// `fn` of the inputs, element by element. The first input gives the shape.
  /// When all inputs are scalars, so is the result.
  mlir::Value map(llvm::ArrayRef<RowInput> inputs, MapFn fn);
  /// The same with several results, which one pass over the inputs computes.
  llvm::SmallVector<mlir::Value> maps(llvm::ArrayRef<RowInput> inputs,
                                      MultiFn fn);

  /// Sums of `fn` over all elements, in one pass.
  llvm::SmallVector<Scalar> sums(llvm::ArrayRef<RowInput> inputs, MultiFn fn);
  Scalar sum(llvm::ArrayRef<RowInput> inputs, MapFn fn);
  /// The largest element of a row.
  Scalar maximum(mlir::Value row);
  /// Of inputs [groups, width]: one sum per group, a tensor [groups].
  mlir::Value groupSum(llvm::ArrayRef<RowInput> inputs, MapFn fn);
  /// Of inputs [groups, width]: the sums over the groups, a tensor [width].
  mlir::Value sumOverGroups(llvm::ArrayRef<RowInput> inputs, MapFn fn);

  /// A float scalar in the compute type; any other as it is.
  Scalar scalar(mlir::Value value);
  Scalar constant(double number);
  /// Inside a map: the index along dimension `dimension` of the iteration, an
  /// i32.
  Scalar index(unsigned dimension);

  /// The first `width` elements of a row.
  mlir::Value prefix(mlir::Value row, int64_t width);
  /// Row `index` of a table [rows, width].
  mlir::Value tableRow(mlir::Value table, mlir::Value index);
  /// The elements of `tensor` in another static shape.
  mlir::Value reshape(mlir::Value tensor, llvm::ArrayRef<int64_t> shape);

private:
  enum class Reduction { Sum, Max };
  llvm::SmallVector<mlir::Value> generic(llvm::ArrayRef<RowInput> inputs,
                                         mlir::ValueRange inits,
                                         mlir::AffineMap outputMap, MultiFn fn,
                                         std::optional<Reduction> reduction);
  llvm::SmallVector<mlir::Value> reduce(llvm::ArrayRef<RowInput> inputs,
                                        unsigned count, MultiFn fn,
                                        Reduction reduction);
  llvm::SmallVector<Scalar> elements(llvm::ArrayRef<RowInput> inputs,
                                     mlir::ValueRange arguments);
  Scalar combine(Scalar accumulator, Scalar value, Reduction reduction);
  mlir::Value filled(llvm::ArrayRef<int64_t> shape, double number);

  mlir::ImplicitLocOpBuilder &builder;
  mlir::Type type;
};

} // namespace nag

#endif // NAG_DIALECT_NAG_IR_ROWBUILDER_H

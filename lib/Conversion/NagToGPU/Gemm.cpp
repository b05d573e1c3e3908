// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: nag.linear and nag.weight_grad as products of matrices.
#include "Gemm.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

static int64_t countElements(ArrayRef<int64_t> shape) {
  return ShapedType::getNumElements(shape);
}

/// A row of the result is a row of the input.
static Problem describeProduct(LinearOp op) {
  ArrayRef<int64_t> input = op.getInput().getType().getShape();
  Problem problem;
  problem.m = countElements(input.drop_back());
  problem.n = op.getResult().getType().getShape().back();
  problem.k = input.back();
  problem.a = {op.getInput(), /*kContiguous=*/true};
  problem.b = {op.getWeight(), /*kContiguous=*/!op.getTransposeWeight()};
  problem.result = op.getResult();
  return problem;
}

/// The sum goes over the rows of both operands.
static Problem describeProduct(WeightGradOp op) {
  ArrayRef<int64_t> result = op.getWeightGrad().getType().getShape();
  Problem problem;
  problem.m = result[0];
  problem.n = result[1];
  problem.k = countElements(op.getInput().getType().getShape().drop_back());
  problem.a = {op.getResultGrad(), /*kContiguous=*/false};
  problem.b = {op.getInput(), /*kContiguous=*/false};
  problem.result = op.getWeightGrad();
  return problem;
}

static LogicalResult verifyTypes(Operation *op) {
  auto isSupported = [](Type type) {
    Type element = getElementTypeOrSelf(type);
    return element.isF32() || element.isBF16();
  };
  for (Type type : llvm::concat<Type>(llvm::to_vector(op->getOperandTypes()),
                                      llvm::to_vector(op->getResultTypes())))
    if (!isSupported(type))
      return op->emitOpError("expected f32 or bf16 for a GPU kernel, but got ")
             << getElementTypeOrSelf(type);
  return success();
}

static Unit chooseUnit(const Problem &problem, const GPUTarget &target) {
  Type a = problem.a.getElementType(), b = problem.b.getElementType();
  if (a.isBF16() && b.isBF16())
    return Unit::BF16;
  if (a.isF32() && b.isF32() && target.f32Contraction == F32Contraction::TF32)
    return Unit::TF32;
  return Unit::FMA;
}

FailureOr<Problem> gemm::describe(Operation *op, const GPUTarget &target) {
  if (failed(verifyTypes(op)))
    return failure();
  auto linear = dyn_cast<LinearOp>(op);
  Problem problem = linear ? describeProduct(linear)
                           : describeProduct(cast<WeightGradOp>(op));
  if (problem.k == 0)
    return op->emitOpError("expected a sum of at least one product for a GPU "
                           "kernel");
  problem.unit = chooseUnit(problem, target);
  return problem;
}

FailureOr<unsigned> nag::emitGemm(KernelLowering &kernel,
                                  ArrayRef<Operation *> ops) {
  Operation *op = ops.front();
  if (!isa<LinearOp, WeightGradOp>(op))
    return 0u;
  FailureOr<Problem> problem = describe(op, kernel.getTarget());
  if (failed(problem))
    return failure();
  Epilogue epilogue(*problem, ops.drop_front());
  if (problem->m == 0 || problem->n == 0)
    return 1 + epilogue.getNumOps();
  FailureOr<Schedule> schedule = getSchedule(op, *problem, kernel.getTarget());
  if (failed(schedule))
    return failure();
  emit(kernel, *problem, *schedule, epilogue);
  return 1 + epilogue.getNumOps();
}

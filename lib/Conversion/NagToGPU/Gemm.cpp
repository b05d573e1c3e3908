// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Contractions: nag.linear and nag.weight_grad as products of matrices.
#include "Gemm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

static int64_t countElements(ArrayRef<int64_t> shape) {
  return ShapedType::getNumElements(shape);
}

/// A row of the result is a row of the input.
static FailureOr<Problem> describeProduct(LinearOp op) {
  ArrayRef<int64_t> input = op.getInput().getType().getShape();
  Problem problem;
  problem.m = countElements(input.drop_back());
  problem.n = op.getResult().getType().getShape().back();
  problem.k = input.back();
  auto rows = describeOperand(op.getInput(), /*kContiguous=*/true);
  if (failed(rows))
    return failure();
  problem.a = *rows;
  problem.b = {op.getWeight(), /*kContiguous=*/!op.getTransposeWeight()};
  problem.result = op.getResult();
  return problem;
}

/// The sum goes over the rows of both operands.
static FailureOr<Problem> describeProduct(WeightGradOp op) {
  ArrayRef<int64_t> result = op.getWeightGrad().getType().getShape();
  Problem problem;
  problem.m = result[0];
  problem.n = result[1];
  problem.k = countElements(op.getInput().getType().getShape().drop_back());
  auto rows = describeOperand(op.getResultGrad(), /*kContiguous=*/false);
  auto columns = describeOperand(op.getInput(), /*kContiguous=*/false);
  if (failed(rows) || failed(columns))
    return failure();
  problem.a = *rows;
  problem.b = *columns;
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
  FailureOr<Problem> described = linear
                                     ? describeProduct(linear)
                                     : describeProduct(cast<WeightGradOp>(op));
  if (failed(described))
    return failure();
  Problem problem = *described;
  if (problem.k == 0)
    return op->emitOpError("expected a sum of at least one product for a GPU "
                           "kernel");
  problem.unit = chooseUnit(problem, target);
  problem.offsets = findRowCount(op);
  problem.countsK = problem.offsets && !linear;
  problem.expectedShare = getExpectedShare(op);
  return problem;
}

/// " (relu2 as loaded)": the ops of prologues, each once.
static std::string describePrologues(ArrayRef<Product> products) {
  llvm::SmallSetVector<StringRef, 4> names;
  for (const Product &product : products)
    for (const Problem &term : product.terms)
      for (const Operand &operand : {term.a, term.b})
        if (operand.prologue)
          operand.prologue->collectNames(names);
  if (names.empty())
    return "";
  return " (" + llvm::join(names, ", ") + " as loaded)";
}

namespace {
/// The contractions at the front of a kernel's ops that one launch computes,
/// and the ops behind them that it takes along.
class ProductLaunch : public LaunchModel {
public:
  ProductLaunch(const GPUTarget &gpuTarget, ArrayRef<Operation *> kernelOps)
      : LaunchModel(gpuTarget, ScheduleFamily::Gemm), target(gpuTarget),
        following(kernelOps) {
    setOps(kernelOps);
  }

  /// Fails where a contraction is not for the GPU.
  LogicalResult collect();
  ArrayRef<Product> getProducts() const { return products; }

  SmallVector<ScheduleAttr> listCandidates() const override;
  std::string findFault(ScheduleAttr schedule) const override {
    return gemm::findFault(products, fromAttr(schedule), target);
  }
  SmallVector<LaunchWork> describe(ScheduleAttr schedule) const override {
    return {describeWork(products, fromAttr(schedule), target)};
  }

protected:
  /// Products of f32 on tensor cores have other schedules.
  std::string getKeySuffix() const override {
    bool isTF32 = products.front().getFirst().unit == Unit::TF32;
    return (isTF32 ? " tf32" : "") + describePrologues(products);
  }

private:
  LogicalResult collectProducts();
  void collectOthers();
  void takeRoute();
  bool addUp(Operation *op);
  bool append(RowwiseOpInterface op);
  Product *findWhole(Value value);
  Product *findSum(Value value);

  const GPUTarget &target;
  ArrayRef<Operation *> following;
  SmallVector<Product, 0> products;
};
} // namespace

/// Contractions of one unit, next to one another.
LogicalResult ProductLaunch::collectProducts() {
  while (!following.empty() && isa<LinearOp, WeightGradOp>(following.front())) {
    FailureOr<Problem> problem = gemm::describe(following.front(), target);
    if (failed(problem))
      return failure();
    if (!products.empty() && problem->unit != products.front().getFirst().unit)
      return success();
    products.emplace_back(*problem);
    following = following.drop_front();
  }
  return success();
}

/// The product whose sum is `value`, perhaps widened, and goes nowhere else so
/// far.
Product *ProductLaunch::findWhole(Value value) {
  Value sum = skipWidening(value);
  size_t numSteps = sum == value ? 0 : 1;
  auto found = llvm::find_if(products, [&](const Product &product) {
    return product.getFirst().result == sum &&
           product.epilogue.getNumSteps() == numSteps;
  });
  bool isOnlyUse = value.hasOneUse() && sum.hasOneUse();
  return found != products.end() && isOnlyUse ? &*found : nullptr;
}

/// The product whose sum, with other tensors added, is `value`.
Product *ProductLaunch::findSum(Value value) {
  auto found = llvm::find_if(products, [&](const Product &product) {
    return product.epilogue.isSum(value);
  });
  return found != products.end() ? &*found : nullptr;
}

/// Lets a sum of two products be one sum over the terms of both; what else is
/// added comes last.
bool ProductLaunch::addUp(Operation *op) {
  auto sum = dyn_cast<arith::AddFOp>(op);
  if (!sum)
    return false;
  Product *left = findWhole(sum.getLhs()), *right = findWhole(sum.getRhs());
  Value added;
  for (auto [own, other] : {std::pair(sum.getLhs(), sum.getRhs()),
                            std::pair(sum.getRhs(), sum.getLhs())})
    if (Product *product = findSum(own); product && !added) {
      added = own;
      left = product;
      right = findWhole(other);
    }
  if (!left || !right || left == right ||
      !left->getFirst().hasTilesOf(right->getFirst()))
    return false;
  left->terms.append(right->terms);
  if (added) {
    left->epilogue.pass(sum, added);
  } else {
    left->terms.front().result = sum.getResult();
    left->epilogue = Epilogue(left->getFirst());
  }
  products.erase(right);
  return true;
}

/// True for a sum that reads what a product of the launch puts.
static bool isAwaited(Value operand, Operation *reader) {
  return isSumOp(reader) && operand.getDefiningOp<PutOp>();
}

/// Lets the one product whose values the op reads compute it, or where it reads
/// none, any whose tiles are the op's as well.
bool ProductLaunch::append(RowwiseOpInterface op) {
  Product *owner = nullptr;
  Value awaited;
  for (Value operand : op->getOperands())
    for (Product &product : products) {
      if (!product.epilogue.computes(operand))
        continue;
      if (isAwaited(operand, op)) {
        awaited = operand;
        continue;
      }
      // What other blocks compute is not there yet.
      if (owner && owner != &product)
        return false;
      owner = &product;
    }
  bool waits = llvm::any_of(
      products, [](const Product &product) { return product.awaited; });
  if (awaited && (!owner || waits || owner->getFirst().offsets))
    return false;
  if (owner && !owner->epilogue.append(op))
    return false;
  if (owner) {
    owner->awaited = awaited ? awaited : owner->awaited;
    return true;
  }
  // Best one whose values go into the same op as its own.
  for (Operation *user : op->getUsers())
    for (Value operand : user->getOperands())
      for (Product &product : products)
        if (product.epilogue.computes(skipWidening(operand)))
          return product.epilogue.append(op);
  return llvm::any_of(
      products, [&](Product &product) { return product.epilogue.append(op); });
}

void ProductLaunch::collectOthers() {
  while (!following.empty()) {
    auto rowwise = dyn_cast<RowwiseOpInterface>(following.front());
    if (!rowwise || (!addUp(rowwise) && !append(rowwise)))
      break;
    following = following.drop_front();
  }
  takeRoute();
  // Who waits comes behind.
  auto waits = llvm::find_if(
      products, [](const Product &product) { return product.awaited; });
  if (waits != products.end())
    std::rotate(waits, std::next(waits), products.end());
  for (Product &product : products)
    product.epilogue.collectOutputs();
}

/// Lets the product that makes the scores of a nag.route select.
void ProductLaunch::takeRoute() {
  auto route =
      following.empty() ? RouteOp() : dyn_cast<RouteOp>(following.front());
  if (!route || !route.getScores().getType().getElementType().isF32())
    return;
  for (Product &product : products)
    if (product.epilogue.getSpan() != 0 &&
        product.epilogue.computes(route.getScores()) &&
        !product.getFirst().offsets) {
      product.route = route;
      following = following.drop_front();
      return;
    }
}

LogicalResult ProductLaunch::collect() {
  if (failed(collectProducts()))
    return failure();
  if (!products.empty())
    collectOthers();
  setOps(getOps().drop_back(following.size()));
  llvm::erase_if(products, [](const Product &product) {
    return product.getFirst().m == 0 || product.getFirst().n == 0;
  });
  return success();
}

SmallVector<ScheduleAttr> ProductLaunch::listCandidates() const {
  return llvm::map_to_vector(
      listSchedules(products),
      [&](const Schedule &schedule) { return toAttr(schedule, getContext()); });
}

FailureOr<LaunchPlan> nag::planGemm(const GPUTarget &target,
                                    ArrayRef<Operation *> ops) {
  auto launch = std::make_unique<ProductLaunch>(target, ops);
  if (failed(launch->collect()))
    return failure();
  LaunchPlan plan;
  plan.numOps = launch->getOps().size();
  if (!launch->getProducts().empty())
    plan.model = std::move(launch);
  return plan;
}

FailureOr<unsigned> nag::emitGemm(KernelLowering &kernel,
                                  ArrayRef<Operation *> ops) {
  ProductLaunch launch(kernel.getTarget(), ops);
  if (failed(launch.collect()))
    return failure();
  unsigned numOps = launch.getOps().size();
  if (launch.getProducts().empty())
    return numOps;
  FailureOr<ScheduleAttr> schedule = kernel.follow(launch);
  if (failed(schedule))
    return failure();
  gemm::emit(kernel, launch.getProducts(), fromAttr(*schedule));
  return numOps;
}

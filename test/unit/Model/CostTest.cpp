// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Costs against counts by hand.
#include "nag/Model/Cost.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace llvm;
using namespace nag::model;

static Expected<StepCost> measure(const std::string &text) {
  mlir::MLIRContext context;
  context.loadDialect<mlir::arith::ArithDialect, mlir::func::FuncDialect,
                      mlir::math::MathDialect, mlir::tensor::TensorDialect,
                      nag::NagDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module)
    return createStringError("the text does not parse");
  return measureStep(*module);
}

// One layer is a linear layer of 2*8*16*16 = 4096 FLOPs.
static constexpr char kLayer[] = R"mlir(
func.func private @layer(%x: tensor<8x16xf32>, %w: tensor<16x16xf32>)
    -> (tensor<8x16xf32>, tensor<8x16xf32>) {
  %y = nag.linear %x, %w : (tensor<8x16xf32>, tensor<16x16xf32>) -> tensor<8x16xf32>
  return %y, %x : tensor<8x16xf32>, tensor<8x16xf32>
}
func.func @apply(%w: tensor<3x16x16xf32>) -> tensor<3x16x16xf32> {
  %r = math.sqrt %w : tensor<3x16x16xf32>
  return %r : tensor<3x16x16xf32>
})mlir";

static constexpr char kForward[] = R"mlir(
  %y, %s = nag.repeat @layer 3 carry(%x) stacked(%w) shared()
      : (tensor<8x16xf32>), (tensor<3x16x16xf32>), () -> (tensor<8x16xf32>), (tensor<3x8x16xf32>)
  %l = nag.squared_norm %y : (tensor<8x16xf32>) -> tensor<f32>)mlir";

static constexpr char kArguments[] =
    R"mlir((%tokens: tensor<2x4xi32> {nag.name = "tokens"}, %x: tensor<8x16xf32>,
    %w: tensor<3x16x16xf32> {nag.param = #nag.param<"h.{layer}.w", init = <zeros>, group = "matrix">}))mlir";

static std::string makeModule(const std::string &backward) {
  std::string arguments = kArguments;
  return std::string(kLayer) + "\nfunc.func @loss" + arguments +
         " -> tensor<f32> {" + kForward +
         "\n  return %l : tensor<f32>\n}\nfunc.func @gradients" + arguments +
         " -> (tensor<f32>, tensor<3x8x16xf32>) {" + kForward + backward +
         "\n}\n";
}

TEST(Cost, CountsRepeatsAndWhatOutlivesTheLoss) {
  // After the loss: the stack [3,8,16] and the last result [8,16] are read.
  StepCost cost = cantFail(measure(makeModule(R"mlir(
  %d = arith.addf %s, %s : tensor<3x8x16xf32>
  %e = arith.mulf %y, %y : tensor<8x16xf32>
  return %l, %d : tensor<f32>, tensor<3x8x16xf32>)mlir")));
  EXPECT_EQ(cost.parameters, 3 * 16 * 16);
  EXPECT_EQ(cost.groupParameters.at("matrix"), 3 * 16 * 16);
  EXPECT_EQ(cost.tokens, 8);
  EXPECT_EQ(cost.forwardFlops, 3 * 4096 + 2 * 8 * 16);
  EXPECT_EQ(cost.backwardFlops, 3 * 8 * 16 + 8 * 16);
  EXPECT_EQ(cost.optimizerFlops, 3 * 16 * 16);
  EXPECT_EQ(cost.activationBytes, (3 * 8 * 16 + 8 * 16) * 4);
}

TEST(Cost, SavesNothingThatIsOnlyReturned) {
  StepCost cost = cantFail(measure(
      makeModule("\n  return %l, %s : tensor<f32>, tensor<3x8x16xf32>")));
  EXPECT_EQ(cost.backwardFlops, 0);
  EXPECT_EQ(cost.activationBytes, 0);
}

TEST(Cost, NamesTheFunctionThatIsMissing) {
  EXPECT_EQ(toString(measure("module {}").takeError()),
            "expected a function @loss with a body, but got none");
}

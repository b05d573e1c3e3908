// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_TRANSFORMS_PASSES_TD
#define NAG_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def NagExpandBlocks : Pass<"nag-expand-blocks"> {
  let summary = "spells out nag.block: direction, modulate, branch, rotate";
  let description = [{
    Replaces every `nag.block` by the ops it stands for: the direction of its stream, the gate from that direction, its body
    inlined, and `nag.rotate` with the block's eps. No `nag.block` is left.

    A routed block becomes: the gates of all tokens, `nag.route` on them, `nag.take` of the executed tokens' rows, the body, the gates and
    the rotation of these rows, `nag.put` of what they became into the rest. A capacity without dial has constant offsets. The gates of
    the executed tokens are computed again from their rows, so that the backward pass of the sub-layer needs no other rows.

    ```mlir
    %y, %g = nag.block %x gate(%w, %b, %p, %beta, %alpha) : ... {
    ^bb0(%r: tensor<2x8x16xf32>):
      %f = nag.relu2 %r : ...
      nag.yield %f : tensor<2x8x16xf32>
    }
    // becomes
    %r = nag.direction %x : !nag.stream<2x8x16xf32>
    %g = nag.modulate %r gate(%w, %b, %p, %beta, %alpha) : ...
    %f = nag.relu2 %r : ...
    %y = nag.rotate %x, %f, %g : ...
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::nag::NagDialect"];
}

def NagDecompose : Pass<"nag-decompose"> {
  let summary = "splits ops into a contraction and row-wise ops";
  let description = [{
    What differentiation and kernels work on is smaller than what models are written in:

    - `nag.modulate` becomes `nag.linear` and `nag.gate`;
    - `nag.decode` becomes `nag.direction`, `nag.log_norm`, `nag.linear` and `nag.temper` with the factor 1/D;
    - `nag.cross_entropy` becomes `nag.token_loss` and `nag.masked_mean`;
    - `nag.rms_norm` with a gain becomes `nag.rms_norm` and `nag.gain`;
    - `nag.global_norm` becomes one `nag.squared_norm` per tensor and the root of their sum, in the order of the operands.

    ```mlir
    %z = nag.decode %x, %w : (!nag.stream<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
    // becomes
    %r = nag.direction %x : !nag.stream<2x8x16xf32>
    %s = nag.log_norm %x : !nag.stream<2x8x16xf32>
    %p = nag.linear %r, %w : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
    %z = nag.temper %p, %s {factor = 0.0625} : (tensor<2x8x32xf32>, tensor<2x8xf32>) -> tensor<2x8x32xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::nag::NagDialect"];
}

def NagLowerToRowGram : Pass<"nag-lower-to-row-gram"> {
  let summary = "writes rotate, norms and their VJPs as sums and combinations of rows";
  let description = [{
    Replaces every op that has a Gram form (RowGramOpInterface: nag.rotate, nag.rms_norm over whole rows, nag.residual_add and the VJPs) by
    nag.row_gram, nag.row_scalars and nag.row_combine. Canonicalization then shares sums and collapses combinations across
    the ops that were. What is computed is what the ops' own row programs compute: both follow from the same form.

    By default a branch without its part along r is a combination of its own (`cancels`), whose sums are taken of itself. With `sums`, only
    sums of the rows from outside are taken, which can ride in the epilogue of the product that makes the rows; see docs/row-gram.md for
    when that is accurate enough.

    ```mlir
    %y = nag.rms_norm %x : (tensor<8x16xf32>) -> tensor<8x16xf32>
    // becomes
    %s = nag.row_gram %x [(0, 0)] : (tensor<8x16xf32>) -> tensor<8xf32>
    %c = nag.row_scalars %s : (tensor<8xf32>) -> tensor<8xf32> { ... }
    %y = nag.row_combine %x by %c : (tensor<8x16xf32>, tensor<8xf32>) -> tensor<8x16xf32>
    ```
  }];
  let options = [Option<"sums", "sums", "bool", "false", "Take sums of the rows from outside only">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::nag::NagDialect"];
}

def NagFuseHead : Pass<"nag-fuse-head"> {
  let summary = "joins the head's product and the loss, so that the logits need not be kept";
  let description = [{
    - `nag.linear`, `nag.temper` (where there is one) and `nag.token_loss`, whose results nobody else reads, become nag.head_loss.
    - Where a function has nag.head_loss and nag.head_loss_vjp of the same operands, and the latter's cotangent does not depend on the former's
      losses but through nag.masked_mean's count, the former goes: the latter has the losses, too. The count is then nag.target_count.

    Run it before and after `-nag-differentiate`.

    ```mlir
    %0 = nag.linear %x, %w : (tensor<2x8x16xf32>, tensor<32x16xf32>) -> tensor<2x8x32xf32>
    %losses, %lse = nag.token_loss %0, %t {vocab = 30} : (tensor<2x8x32xf32>, tensor<2x8xi32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)
    // becomes
    %losses = nag.head_loss %x, %w, %t {vocab = 30} : (tensor<2x8x16xf32>, tensor<32x16xf32>, tensor<2x8xi32>) -> tensor<2x8xf32>
    ```
  }];
  let dependentDialects = ["::nag::NagDialect"];
}

def NagLowerHead : Pass<"nag-lower-head"> {
  let summary = "computes nag.head_loss and its VJP a chunk of rows at a time";
  let description = [{
    Each nag.head_loss and nag.head_loss_vjp becomes, for one chunk of rows after the other, ops that every target knows: nag.linear,
    nag.temper, nag.token_loss and their VJPs. The chunks' kernels are the same functions. The weight's cotangent is added up
    from chunk to chunk, so only one chunk's logits are in memory at a time: about `bytes`, but never less than 1/`max-chunks` of
    them. Chunks have as many rows each where their number has such a divisor, else the last is shorter. A head whose logits fit is one chunk.

    ```mlir
    %losses = nag.head_loss %x, %w, %t {vocab = 30} : (tensor<2x8x16xf32>, tensor<32x16xf32>, tensor<2x8xi32>) -> tensor<2x8xf32>
    // becomes, for each chunk of 4 rows with bytes = 512
    %0 = tensor.extract_slice %rows[4, 0] [4, 16] [1, 1] : tensor<16x16xf32> to tensor<4x16xf32>
    %1 = nag.linear %0, %w : (tensor<4x16xf32>, tensor<32x16xf32>) -> tensor<4x32xf32>
    %2, %lse = nag.token_loss %1, %targets {vocab = 30} : (tensor<4x32xf32>, tensor<4xi32>) -> (tensor<4xf32>, tensor<4xf32>)
    ```
  }];
  let options = [
    Option<"bytes", "bytes", "int64_t", "33554432", "Bytes of logits that may be in memory at a time">,
    Option<"maxChunks", "max-chunks", "int64_t", "32", "Largest number of chunks">,
    Option<"remarks", "remarks", "bool", "false", "Say how each head is cut">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect", "::nag::NagDialect"];
}

def NagContractInBF16 : Pass<"nag-contract-in-bf16"> {
  let summary = "contractions of f32 tensors read and write bf16";
  let description = [{
    Rounds the operands of every contraction (CostOpInterface::isContraction) of f32 tensors to bf16 and widens its results: products of
    bf16, sums in f32, as tensor cores compute. Parameters, the stream, row-wise ops, losses and the optimizer stay f32. Runs before
    `-nag-differentiate`: the backward pass then contracts bf16 too, its residuals are the rounded operands, and gradients of
    parameters are f32. After it, a second run lets gradients of weights (nag.weight_grad) that are only widened be f32 from the start.

    ```mlir
    %y = nag.linear %x, %w : (tensor<8x4xf32>, tensor<16x4xf32>) -> tensor<8x16xf32>
    // becomes
    %a = arith.truncf %x : tensor<8x4xf32> to tensor<8x4xbf16>
    %b = arith.truncf %w : tensor<16x4xf32> to tensor<16x4xbf16>
    %c = nag.linear %a, %b : (tensor<8x4xbf16>, tensor<16x4xbf16>) -> tensor<8x16xbf16>
    %y = arith.extf %c : tensor<8x16xbf16> to tensor<8x16xf32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def NagBuildOptimizer : Pass<"nag-build-optimizer", "::mlir::ModuleOp"> {
  let summary = "adds the optimizer's functions for the parameters of the loss";
  let description = [{
    From the `nag.param` arguments of the loss function and the module's `nag.groups` makes, in the compute type C of the
    parameters (f32 for bf16):

    - `@accumulate`(grad:*, acc:*) -> acc:*: adds gradients to accumulators;
    - `@apply`(parameters, m:*, v:*, grad:*, lr, step, grad_scale, clip) -> (parameters, m:*, v:*, grad_norm): clips by the
      global norm, takes one AdamW step per parameter with its group's settings, restores the constraints;
    - `@constrain`(parameters with a constraint) -> the same, constrained;
    - `@train_step`, where the module has `@gradients`: `@gradients`, then `@apply`.

    Names in quotes stand as `nag.name` on arguments and results; a parameter's argument keeps its `nag.param`. A result with the
    name of an argument shares its memory. Moments are of type C; lr, step, grad_scale and clip are `tensor<C>`.
  }];
  let options = [Option<"function", "function", "std::string", /*default=*/"\"loss\"", "the loss function">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::math::MathDialect",
                           "::nag::NagDialect"];
}

def NagFuse : Pass<"nag-fuse", "::mlir::func::FuncOp"> {
  let summary = "forms kernels: joins row-wise ops that share rows, leaves the others alone";
  let description = [{
    Wraps every op that computes tensors in a `nag.kernel`. Row-wise ops (RowwiseOpInterface) over the same number of rows are joined
    greedily, the pair that saves most memory traffic first, when one reads rows that the other writes or both read
    the same rows. A sum over rows ends a kernel: who reads it runs in another. Contractions and all other ops are kernels of
    their own. Reshapes, contiguous slices and constants stay outside: they cost nothing.

    What joins is what a cost model finds cheaper: bytes of memory traffic saved against `launch-bytes` per launch saved, as
    long as the rows that a kernel holds on chip, those that it reads and those that one op makes for another, take no more than `chip-bytes`
    in their compute types, or those that it reads no more than `shared-bytes` in the types of memory, where it can compute the others for each
    of their uses. It reads what the ops' interfaces say. With `remarks`,
    it says what joined, what did not, and why.

    Products (RowProductOpInterface: nag.linear, nag.weight_grad) join as far as a target's emitter takes it:

    - `join-products`: products that share their row operand become one kernel (queries, keys, values and the modulator's directions; their
      weights' gradients), and so do products whose sum is taken (the cotangent of that operand), with the other terms of the sum. No weight is
      copied.
    - `epilogues`: row-wise ops that need no more than `tile-columns` adjacent columns run in the kernel of the product whose result they read;
      with `lane-columns`, for targets that keep sums in registers, no more than so many where these are whole rows, or a power of two from half
      as many on: the head of a query, its rotary embedding and norm.
      A product stands first in its kernel and reads nothing that the kernel computes. With `prologues`, but for what it computes itself of an
      operand's elements as it loads them: ops that make an element of the element of one tensor in the same place and of scalars, such as
      nag.relu2, so that the tensor that they make is not in memory. That is done where the tensor that they read is there anyway (an argument, a
      result, what products read) and nobody else reads what they make, and where the bytes saved take longer than computing each element once
      for every `tile-columns` columns of the product's other operand. With `keep-products`, a product's result that no
      row-wise op overwrites is a result of the kernel: for targets that run product and row-wise ops in sequence.
    - `multi-tensor`: independent row-wise ops run in one kernel where that saves a launch: over the same rows, or the same ops with the same
      attributes over other rows (the optimizer's, one kernel per group). Without `keep-products`, independent products that sum over rows join as
      well, whatever they read: the gradients of all weights of a layer.
    Of routed rows (nag.take) only the first offsets[B] count. The rows of an op's operands and results are the same (RowwiseOpInterface,
    RowSpaceOpInterface); by these ties the offsets are found, and a kernel with such rows takes them as an operand, whose number is its
    attribute `nag.row_count`: it loops over so many rows. The rest that nag.put completes is the tensor that nag.take took the rows
    from: no other row is touched. With `gather-rows`, a product reads taken rows through the index where they are, so that nothing makes them
    for its sake; a kernel may put rows over those that it takes by the same index; nag.route runs in the kernel of the product that makes its
    scores, and with it the scalar op that makes its dial. Independent ops join though not as many of their rows count; then each op that counts
    its rows has the attribute. Products of all rows that are added to what others put run in their launch: that is the one value
    within a kernel that goes through memory.

    `nag.make_stream`, `nag.direction` and `nag.log_norm` go inside, so no stream crosses a kernel's border; functions
    must have lost theirs (`-nag-split-streams`).

    ```mlir
    %a = nag.relu2 %x : tensor<8x16xf32>
    %b = nag.residual_add %a, %y : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
    // becomes
    %b = nag.kernel "relu2_residual_add"(%x, %y) : (tensor<8x16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32> { ... }
    ```
  }];
  let dependentDialects = ["::nag::NagDialect"];
  let options = [
    Option<"remarks", "remarks", "bool", "false", "Say what joined, what did not, and why">,
    Option<"joinProducts", "join-products", "bool", "false", "Join products that share an operand or are summed">,
    Option<"epilogues", "epilogues", "bool", "false", "Run row-wise ops in the kernel of the product they follow">,
    Option<"gatherRows", "gather-rows", "bool", "false", "Let products read the rows of nag.take where they are">,
    Option<"prologues", "prologues", "bool", "false", "Let products compute an operand's elements as they load them, where that is cheaper">,
    Option<"keepProducts", "keep-products", "bool", "false", "Give every product's result that cannot be overwritten a place in memory">,
    Option<"multiTensor", "multi-tensor", "bool", "false", "Run independent row-wise ops of a kind in one kernel">,
    Option<"tileColumns", "tile-columns", "int64_t", "128", "Columns of a product that an epilogue may need together">,
    Option<"laneColumns", "lane-columns", "int64_t", "0", "Columns that lanes hold together, or powers of two from half as many on; 0: any">,
    Option<"launchBytes", "launch-bytes", "int64_t", "65536", "Memory traffic that costs as much as a launch">,
    Option<"chipBytes", "chip-bytes", "int64_t", "262144", "Bytes of rows that a kernel may hold on chip">,
    Option<"sharedBytes", "shared-bytes", "int64_t", "0", "Bytes of the rows that a kernel may read where ops that make rows of them do so for every use">
  ];
}

def NagOutlineKernels : Pass<"nag-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "turns nag.kernel regions into functions and launches";
  let description = [{
    Each `nag.kernel` becomes a function of the nested module `@kernels` in destination-passing form: the inputs, then one destination
    per result, which it fills and returns. Equal kernels share one function. The attribute `nag.shares = i` on a destination says
    that it may be the memory of input i (RowwiseOpInterface::getSharedOperand); `nag.updates = i` that it must hold what input i holds,
    since the kernel writes some of its rows alone (getBaseOperand). The input with the offsets of routed rows is marked `nag.row_count`;
    the function's `nag.expected_share` is the share of them that the configuration's rate leaves.
    With `report`, prints how many kernels each function launches, those of its callees included and nag.repeat counted as often as it runs,
    and how many distinct kernels there are.

    ```mlir
    %b = nag.launch @kernels::@relu2(%x) : (tensor<8x16xf32>) -> tensor<8x16xf32>
    module @kernels attributes {nag.kernels} {
      func.func @relu2(%x: tensor<8x16xf32> {bufferization.writable = false}, %out: tensor<8x16xf32> {nag.shares = 0})
          -> tensor<8x16xf32> attributes {nag.kernel} { ... }
    }
    ```
  }];
  let options = [Option<"report", "report", "bool", "false", "Print the launches of each function">];
  let dependentDialects = ["::nag::NagDialect", "::mlir::bufferization::BufferizationDialect"];
}

def NagDifferentiate : Pass<"nag-differentiate", "::mlir::ModuleOp"> {
  let summary = "adds a function that computes gradients, by reverse-mode differentiation";
  let description = [{
    Adds `@<result>`, which runs `@<function>` and then its reverse pass. It returns the function's results and the gradient of
    the first, a rank-0 tensor, by every `nag.param` argument, named `grad:<parameter>`. With `seeded`, it takes a cotangent for every float
    result (`cotangent:<i>`) instead and returns only the gradients by every float argument; `<result>` is then
    `<function>.gradients` unless it is given. The cotangent of a stream is two tensors, direction and log-norm.

    Every op on the way from the arguments to the results differentiates itself (DifferentiableOpInterface). A function `f` that is called
    or repeated is differentiated once per way it is used: `f.forward` also returns residuals, `f.backward` takes them. The
    reverse of a nag.repeat is a nag.repeat in the opposite order, with the residuals as stacks and the cotangents of shared operands
    summed up in the carry.

    What is saved for the reverse pass is a minimum cut of the forward pass, by bytes. Arguments that live anyway
    (those of `@<function>`, stacks, shared operands) are read again for nothing. `recompute` bounds what may be computed again: `none` (only
    changes of form and constants), `cheap` (no contraction and no reduction), `all` (anything but a nag.repeat). Ops that run
    again in `@<result>` itself carry `nag.recomputed`, so that they stay apart from the first run.

    ```mlir
    func.func @loss(%x: tensor<8x4xf32>, %w: tensor<16x4xf32> {nag.param = ...}) -> tensor<f32>
    // gets
    func.func @gradients(%x: tensor<8x4xf32>, %w: tensor<16x4xf32> {nag.param = ...})
        -> (tensor<f32>, tensor<16x4xf32> {nag.name = "grad:w"})
    ```
  }];
  let options = [
    Option<"function", "function", "std::string", [{"loss"}], "The function to differentiate">,
    Option<"result", "result", "std::string", [{""}], "Name of the new function; when empty, gradients, or <function>.gradients if seeded">,
    Option<"recompute", "recompute", "::nag::RecomputeMode", "::nag::RecomputeMode::Cheap",
           "What the reverse pass may compute again", [{::llvm::cl::values(
             clEnumValN(::nag::RecomputeMode::None, "none", "nothing but changes of form and constants"),
             clEnumValN(::nag::RecomputeMode::Cheap, "cheap", "neither contractions nor reductions"),
             clEnumValN(::nag::RecomputeMode::All, "all", "anything but repeats"))}]>,
    Option<"seeded", "seeded", "bool", "false", "Take cotangents of all results, differentiate by all arguments">,
    Option<"explain", "explain", "bool", "false", "Report what is saved and what is computed again as remarks">
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"
  ];
}

def NagPlanBuffers : Pass<"nag-plan-buffers", "::mlir::ModuleOp"> {
  let summary = "gives every tensor of the host program its place in memory";
  let description = [{
    For each function outside `@kernels`, callees first: tensors are written straight into the result's buffer, the stack, the concatenation
    or the argument's buffer (a result that has an argument's name updates it in place) where nothing still needs what stands there; all
    others get an offset in the function's one workspace, which buffers with disjoint lifetimes share (largest first, tightest gap).
    `nag.copy` is inserted where a value must stand in a second place. A destination with `nag.shares` takes over a dying input's memory.

    The carry of a nag.repeat alternates between two buffers. A carry that the callee also returns as a stacked result, as
    the forward pass of a differentiated layer does with its input, lives in the stack: iteration i reads slice i and
    writes slice i+1, the last one where the result is wanted, and nothing is copied. A carry of which the callee's kernels write some rows in
    place (`nag.updates` on their destinations) stands in one buffer throughout, so that the other rows are neither read nor written; where it
    is still needed behind the loop, the loop gets a copy.

    Where other rows are needed in two places, all are copied before the launch that updates some. With `carry-rows`, a kernel of row-wise ops
    copies them itself, and no others, where nag.route has listed what it writes: its destination has `nag.carries`.

    Matrices of rows of a power of two often take whole pages, one behind the other, so that their columns at one place share the sets of a
    cache. With `skew`, so many bytes stay free behind a buffer of a page (4096 bytes) or more.

    Attributes: `nag.slots` (one `#nag.slot` per tensor result), `nag.carry_slots` and `nag.callee_slot` (nag.repeat, func.call),
    `nag.forwards` on results that stand in an argument, `nag.overwritten` on carries that a callee updates in place and `nag.updates` on the
    results that they become, `nag.workspace_bytes` on the function.

    ```mlir
    %y = nag.launch @kernels::@relu2(%x) {nag.slots = [#nag.slot<workspace at 0>]} : (tensor<8x16xf32>) -> tensor<8x16xf32>
    ```
  }];
  let dependentDialects = ["::nag::NagDialect"];
  let options = [
    Option<"carryRows", "carry-rows", "bool", "false",
           "Let row-wise kernels copy the rows that they do not write, where all of them would be copied before">,
    Option<"skew", "skew", "int64_t", "0", "Bytes that stay free behind each buffer of a page or more">,
    Option<"report", "report", "bool", "false",
           "Print for each function the workspace, the sum of its buffers and the largest live set">
  ];
}

def NagSplitStreams : Pass<"nag-split-streams"> {
  let summary = "passes streams between functions as two tensors";
  let description = [{
    Replaces every `!nag.stream` in function signatures, calls, returns and `nag.repeat` by its direction and its log-norm. Inside
    functions a stream remains only between `nag.make_stream` and the ops that compute with it. An argument or result
    named "x" becomes "x" and "x.log_norm".

    ```mlir
    func.func @f(%x: !nag.stream<2x8x16xf32>) -> !nag.stream<2x8x16xf32> { return %x : !nag.stream<2x8x16xf32> }
    // becomes
    func.func @f(%r: tensor<2x8x16xf32>, %s: tensor<2x8xf32>) -> (tensor<2x8x16xf32>, tensor<2x8xf32>) {
      return %r, %s : tensor<2x8x16xf32>, tensor<2x8xf32>
    }
    ```
  }];
  let dependentDialects = ["::nag::NagDialect"];
}

#endif // NAG_TRANSFORMS_PASSES_TD

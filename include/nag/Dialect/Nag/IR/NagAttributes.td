// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#ifndef NAG_ATTRIBUTES_TD
#define NAG_ATTRIBUTES_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "nag/Dialect/Nag/IR/NagDialect.td"

class Nag_Attr<string name, string attrMnemonic> : AttrDef<Nag_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def Nag_InitKind : I32EnumAttr<"InitKind", "distribution of a parameter's initial values", [
    I32EnumAttrCase<"Zeros", 0, "zeros">, I32EnumAttrCase<"Constant", 1, "constant">,
    I32EnumAttrCase<"Normal", 2, "normal">, I32EnumAttrCase<"Uniform", 3, "uniform">,
    I32EnumAttrCase<"Power", 4, "power">]> {
  let cppNamespace = "::nag";
  let genSpecializedAttr = 0;
}

def Nag_Constraint : I32EnumAttr<"Constraint", "what holds for every row of a parameter after each step", [
    I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"ZeroMean", 1, "zero_mean">,
    I32EnumAttrCase<"ZeroMeanUnitRms", 2, "zero_mean_unit_rms">]> {
  let cppNamespace = "::nag";
  let genSpecializedAttr = 0;
}

def Nag_ConstraintAttr : EnumAttr<Nag_Dialect, Nag_Constraint, "constraint">;

def Nag_InitAttr : Nag_Attr<"Init", "init"> {
  let summary = "initial values of a parameter";
  let description = [{
    `zeros`; `constant, c`; `normal, std` (mean 0); `uniform, std` (mean 0, bounds +-std*sqrt(3)); `power, e, stride, offset`
    for a stacked scalar: layer i (from 0) starts at `(stride*i + offset)^e`, which gives eq. 23-24 for alpha.

    ```mlir
    #nag.init<normal, 0.02>
    #nag.init<power, -0.5, 2, 1>
    ```
  }];
  let parameters = (ins EnumParameter<Nag_InitKind>:$kind,
      OptionalArrayRefParameter<"::nag::Real">:$values);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def Nag_ParamAttr : Nag_Attr<"Param", "param"> {
  let summary = "marks a function argument as a trained parameter";
  let description = [{
    Stands as `nag.param` on an argument of the loss function. `name` is the parameter's name in checkpoints. A name that
    holds `{layer}` belongs to a stack: the argument's leading dimension counts layers, and a checkpoint keeps each slice under
    its own name. `group` names the optimizer group (module attribute `nag.groups`), `constraint` what is restored after
    every step (section 6).

    ```mlir
    %w: tensor<4x128x128xf32> {nag.param = #nag.param<"transformer.h.{layer}.attn.c_q.weight",
                               init = <uniform, 0.088>, group = "matrix">}
    ```
  }];
  let parameters = (ins StringRefParameter<"name in checkpoints">:$name, "::nag::InitAttr":$init,
      StringRefParameter<"optimizer group">:$group,
      DefaultValuedParameter<"::nag::Constraint", "::nag::Constraint::None">:$constraint);
  let assemblyFormat = "`<` $name `,` `init` `=` $init `,` `group` `=` $group (`,` `constraint` `=` $constraint^)? `>`";
  let extraClassDeclaration = [{
    /// True when the parameter is a stack of one tensor per layer.
    bool isStacked() const { return getName().contains("{layer}"); }
  }];
}

def Nag_GroupAttr : Nag_Attr<"Group", "group"> {
  let summary = "AdamW settings of one optimizer group";
  let description = [{
    `lr_scale` multiplies the step's learning rate; `weight_decay` is decoupled (Loshchilov and Hutter, 2019).
    The module attribute `nag.groups` is a dictionary from group names to these.

    ```mlir
    #nag.group<lr_scale = 0.1, weight_decay = 0.0, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-8>
    ```
  }];
  let parameters = (ins "::nag::Real":$lr_scale, "::nag::Real":$weight_decay, "::nag::Real":$beta1,
      "::nag::Real":$beta2, "::nag::Real":$eps);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Nag_Policy : I32EnumAttr<"Policy", "which tokens a sub-layer executes", [
    I32EnumAttrCase<"Threshold", 0, "threshold">, I32EnumAttrCase<"Capacity", 1, "capacity">,
    I32EnumAttrCase<"Rate", 2, "rate">]> {
  let cppNamespace = "::nag";
  let genSpecializedAttr = 0;
}

def Nag_KeyValues : I32EnumAttr<"KeyValues", "which tokens are keys and values of a routed attention", [
    I32EnumAttrCase<"All", 0, "all">, I32EnumAttrCase<"Routed", 1, "routed">]> {
  let cppNamespace = "::nag";
  let genSpecializedAttr = 0;
}

def Nag_RoutingAttr : Nag_Attr<"Routing", "routing"> {
  let summary = "which tokens a sub-layer executes (depth routing, section 4)";
  let description = [{
    The score of a token is |g|, its gate's magnitude. `threshold`: tokens with a score of at least tau, a value known at run time.
    `rate`: the same, with tau kept so that the share `rate` of the tokens skips. `capacity`: of each sequence of T tokens the T -
    floor(rate * T) with the highest scores, of equals the earlier. `kv` says which tokens are keys and values of attention: all of
    them, or only those executed.

    ```mlir
    #nag.routing<capacity, rate = 0.25>
    #nag.routing<threshold, kv = routed>
    ```
  }];
  let parameters = (ins EnumParameter<Nag_Policy>:$policy, DefaultValuedParameter<"::nag::Real", "::nag::Real(0)">:$rate,
      DefaultValuedParameter<"::nag::KeyValues", "::nag::KeyValues::All">:$kv);
  let assemblyFormat = "`<` $policy (`,` struct($rate, $kv)^)? `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// How many of `length` tokens a capacity executes: at least 1.
    int64_t getKept(int64_t length) const;
  }];
}

def Nag_SlotBase : I32EnumAttr<"SlotBase", "what a slot's offset counts from", [
    I32EnumAttrCase<"Workspace", 0, "workspace">, I32EnumAttrCase<"Argument", 1, "argument">]> {
  let cppNamespace = "::nag";
  let genSpecializedAttr = 0;
}

def Nag_SlotAttr : Nag_Attr<"Slot", "slot"> {
  let summary = "where a tensor of the host program lives";
  let description = [{
    A byte offset in the function's workspace, or in the buffer that is argument `index` of the compiled function: first the function's
    arguments, then its results. Made by `-nag-plan-buffers`.

    ```mlir
    #nag.slot<workspace at 4096>
    #nag.slot<argument(3) at 0>
    ```
  }];
  let parameters = (ins EnumParameter<Nag_SlotBase>:$base, DefaultValuedParameter<"int64_t", "-1">:$index,
      "int64_t":$offset);
  let assemblyFormat = "`<` $base (`(` $index^ `)`)? `at` $offset `>`";
}

#endif // NAG_ATTRIBUTES_TD

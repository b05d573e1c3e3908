// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Parameters.h"

#include <cmath>

using namespace mlir;
using namespace nag;
using namespace nag::model;

namespace {

/// The parameter table under construction.
class Table {
public:
  Table(Builder &b, const ModelConfig &c)
      : builder(b), config(c), element(getElementType(b, c)),
        isNag(c.residual == Residual::Nag) {}

  SmallVector<ParameterSpec> build();

private:
  InitAttr init(InitKind kind, ArrayRef<Real> values = {});
  InitAttr spread(InitKind kind, double std);
  void add(const Twine &name, ArrayRef<int64_t> shape, InitAttr init,
           StringRef group, Constraint constraint = Constraint::None);
  void addStack(const Twine &name, ArrayRef<int64_t> shape, InitAttr init,
                StringRef group);
  void addMatrix(const Twine &name, int64_t out, int64_t in);
  void addProjection(const Twine &name, int64_t out, int64_t in);
  void addEmbedding();
  void addAttention();
  void addMlp();
  void addGate(const Twine &branch, int64_t firstIndex);
  void addHead();

  Builder &builder;
  const ModelConfig &config;
  FloatType element;
  bool isNag;
  SmallVector<ParameterSpec> specs;
};

} // namespace

InitAttr Table::init(InitKind kind, ArrayRef<Real> values) {
  return InitAttr::get(builder.getContext(), kind, values);
}

InitAttr Table::spread(InitKind kind, double std) {
  return std == 0 ? init(InitKind::Zeros) : init(kind, Real(std));
}

/// Matrices have the model's element type; vectors and scalars the type that
/// it computes in.
void Table::add(const Twine &name, ArrayRef<int64_t> shape, InitAttr initial,
                StringRef group, Constraint constraint) {
  std::string text = name.str();
  bool isStack = StringRef(text).starts_with(kLayerPrefix);
  bool isMatrix = shape.size() - isStack >= 2;
  Type type = isMatrix ? Type(element) : getComputeType(element);
  specs.push_back(
      {RankedTensorType::get(shape, type),
       ParamAttr::get(builder.getContext(), text, initial, group, constraint)});
}

void Table::addStack(const Twine &name, ArrayRef<int64_t> shape,
                     InitAttr initial, StringRef group) {
  SmallVector<int64_t> stacked{config.layers};
  llvm::append_range(stacked, shape);
  add(kLayerPrefix + name, stacked, initial, group);
}

void Table::addMatrix(const Twine &name, int64_t out, int64_t in) {
  double std = 1 / std::sqrt(static_cast<double>(in));
  addStack(name, {out, in}, spread(InitKind::Uniform, std), "matrix");
}

void Table::addProjection(const Twine &name, int64_t out, int64_t in) {
  addStack(name, {out, in}, spread(InitKind::Uniform, config.projectStd),
           "matrix");
}

void Table::addEmbedding() {
  Constraint constraint = !isNag        ? Constraint::None
                          : config.tied ? Constraint::ZeroMeanUnitRms
                                        : Constraint::ZeroMean;
  // Tied pre-norm weights are logits' weights too: the head's size decides.
  double std = config.tied && !isNag ? config.headStd : config.embedStd;
  add(kEmbedding, {config.paddedVocab, config.width},
      spread(InitKind::Normal, std), "embedding", constraint);
  if (isNag)
    add(kEncodeGain, {}, init(InitKind::Zeros), "scalar");
}

void Table::addAttention() {
  addMatrix("attn.c_q.weight", config.width, config.width);
  addMatrix("attn.c_k.weight", config.kvWidth(), config.width);
  addMatrix("attn.c_v.weight", config.kvWidth(), config.width);
  if (config.qkNorm == QkNorm::Learned)
    for (StringRef name : {"attn.q_norm.weight", "attn.k_norm.weight"})
      addStack(name, {config.headDim()}, init(InitKind::Constant, Real(1)),
               "scalar");
  addProjection("attn.c_proj.weight", config.width, config.width);
}

void Table::addMlp() {
  addMatrix("mlp.c_fc.weight", config.hidden, config.width);
  if (config.mlp == Mlp::Swiglu)
    addMatrix("mlp.c_gate.weight", config.hidden, config.width);
  addProjection("mlp.c_proj.weight", config.width, config.hidden);
}

/// `firstIndex` is the 1-based index of the first layer's sub-layer (eq. 23):
/// alpha starts at index^-1/2, and beta so that softplus(beta) = 1.
void Table::addGate(const Twine &branch, int64_t firstIndex) {
  int64_t size = config.gateDirections;
  double std = 1 / std::sqrt(static_cast<double>(config.width));
  addStack(branch + ".m_down.weight", {size, config.width},
           spread(InitKind::Uniform, std), "gate");
  addStack(branch + ".m_down.bias", {size}, init(InitKind::Zeros), "gate");
  addStack(branch + ".coef", {size}, init(InitKind::Zeros), "gate");
  addStack(branch + ".beta", {},
           init(InitKind::Constant, Real(std::log(std::exp(1.0) - 1))), "gate");
  addStack(branch + ".alpha", {},
           init(InitKind::Power, {Real(-0.5), Real(2), Real(firstIndex)}),
           "gate");
}

void Table::addHead() {
  add(kHead, {config.paddedVocab, config.width},
      spread(InitKind::Normal, config.headStd), "head",
      isNag ? Constraint::ZeroMeanUnitRms : Constraint::None);
}

SmallVector<ParameterSpec> Table::build() {
  addEmbedding();
  addAttention();
  addMlp();
  if (isNag) {
    addGate("attn_branch", 1);
    addGate("mlp_branch", 2);
  }
  if (!config.tied)
    addHead();
  return std::move(specs);
}

RankedTensorType ParameterSpec::getSliceType() const {
  return isStacked() ? RankedTensorType::get(type.getShape().drop_front(),
                                             type.getElementType())
                     : type;
}

StringRef ParameterSpec::getKey() const {
  StringRef name = attr.getName();
  name.consume_front(kLayerPrefix);
  return name;
}

std::string ParameterSpec::getLabel() const {
  StringRef key = getKey();
  key.consume_front("transformer.");
  key.consume_back(".weight");
  std::string label = key.str();
  std::replace(label.begin(), label.end(), '.', '_');
  if (size_t at = label.find("_branch"); at != std::string::npos)
    label.erase(at, StringRef("_branch").size());
  return label;
}

SmallVector<ParameterSpec>
nag::model::getParameters(Builder &builder, const ModelConfig &config) {
  return Table(builder, config).build();
}

FloatType nag::model::getElementType(Builder &builder,
                                     const ModelConfig &config) {
  switch (config.dtype) {
  case ElementType::F32:
    return builder.getF32Type();
  case ElementType::F64:
    return builder.getF64Type();
  case ElementType::BF16:
    return builder.getBF16Type();
  }
  llvm_unreachable("all element types are covered");
}

DictionaryAttr nag::model::getGroups(Builder &builder,
                                     const ModelConfig &config) {
  SmallVector<NamedAttribute> groups;
  auto add = [&](StringRef name, double lrScale, double weightDecay) {
    groups.push_back(builder.getNamedAttr(
        name, GroupAttr::get(builder.getContext(), lrScale, weightDecay,
                             config.beta1, config.beta2, config.adamEps)));
  };
  add("matrix", 1, config.weightDecay);
  add("embedding", 1, 0);
  if (!config.tied)
    add("head", 1, 0);
  if (config.residual == Residual::Nag || config.qkNorm == QkNorm::Learned)
    add("scalar", 1, 0);
  if (config.residual == Residual::Nag)
    add("gate", config.gateLrScale, 0);
  return builder.getDictionaryAttr(groups);
}

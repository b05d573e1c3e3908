// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "ConfigFields.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace llvm;
using namespace nag::model;

template <typename Enum> static constexpr StringLiteral kChoices[] = {""};
template <> constexpr StringLiteral kChoices<Residual>[] = {"nag", "prenorm"};
template <>
constexpr StringLiteral kChoices<Mlp>[] = {"relu2", "gelu", "swiglu"};
template <>
constexpr StringLiteral kChoices<QkNorm>[] = {"none", "fixed", "learned"};
template <>
constexpr StringLiteral kChoices<ModPolicy>[] = {"none", "threshold",
                                                 "capacity", "rate"};
template <> constexpr StringLiteral kChoices<ModKv>[] = {"all", "routed"};
template <>
constexpr StringLiteral kChoices<ElementType>[] = {"f32", "f64", "bf16"};

static Error wrongValue(const Twine &expected, const json::Value &actual) {
  std::string text;
  raw_string_ostream os(text);
  os << "expected " << expected << ", but got " << actual;
  return createStringError(text);
}

static std::string range(const Field &field) {
  std::string text;
  raw_string_ostream os(text);
  os << format("in [%g, %g]", field.minimum, field.maximum);
  return text;
}

/// Bounds of sizes, without exponents.
static std::string integerRange(const Field &field) {
  return formatv("an integer in [{0}, {1}]",
                 static_cast<int64_t>(field.minimum),
                 static_cast<int64_t>(field.maximum))
      .str();
}

static Error assignValue(const Field &field, int64_t &place,
                         const json::Value &value) {
  std::optional<int64_t> number = value.getAsInteger();
  if (!number || *number < field.minimum || *number > field.maximum)
    return wrongValue(integerRange(field), value);
  place = *number;
  return Error::success();
}

static Error assignValue(const Field &field, double &place,
                         const json::Value &value) {
  std::optional<double> number = value.getAsNumber();
  if (!number || !(*number >= field.minimum && *number <= field.maximum))
    return wrongValue("a number " + range(field), value);
  place = *number;
  return Error::success();
}

static Error assignValue(const Field &, bool &place, const json::Value &value) {
  std::optional<bool> flag = value.getAsBoolean();
  if (!flag)
    return wrongValue("true or false", value);
  place = *flag;
  return Error::success();
}

/// The only text is the window: a number of positions or a pattern.
static Error assignValue(const Field &field, std::string &place,
                         const json::Value &value) {
  std::optional<int64_t> number = value.getAsInteger();
  std::optional<StringRef> text = value.getAsString();
  bool isPattern = text && !text->empty() &&
                   text->find_first_not_of("SL") == StringRef::npos;
  int64_t parsed;
  if (text && !text->getAsInteger(10, parsed))
    number = parsed;
  bool isSize = number && *number >= field.minimum && *number <= field.maximum;
  if (!isPattern && !isSize)
    return wrongValue("a pattern of S and L or " + integerRange(field), value);
  place = isPattern ? text->str() : std::to_string(*number);
  return Error::success();
}

template <typename Enum, typename = std::enable_if_t<std::is_enum_v<Enum>>>
static Error assignValue(const Field &, Enum &place, const json::Value &value) {
  if (std::optional<StringRef> text = value.getAsString())
    for (auto [index, choice] : enumerate(kChoices<Enum>))
      if (choice == *text) {
        place = static_cast<Enum>(index);
        return Error::success();
      }
  SmallVector<StringRef> names(std::begin(kChoices<Enum>),
                               std::end(kChoices<Enum>));
  return wrongValue("one of " + join(names, ", "), value);
}

/// The norm of queries and keys is a flag for most users.
static Error assignValue(const Field &field, QkNorm &place,
                         const json::Value &value) {
  if (std::optional<bool> flag = value.getAsBoolean()) {
    place = *flag ? QkNorm::Fixed : QkNorm::None;
    return Error::success();
  }
  return assignValue<QkNorm>(field, place, value);
}

Error Field::assign(ModelConfig &config, const json::Value &value) const {
  return std::visit(
      [&](auto member) { return assignValue(*this, config.*member, value); },
      place);
}

template <typename T> static json::Value toValue(const T &value) {
  if constexpr (std::is_enum_v<T>)
    return StringRef(kChoices<T>[static_cast<size_t>(value)]);
  else
    return value;
}

json::Value Field::read(const ModelConfig &config) const {
  return std::visit([&](auto member) { return toValue(config.*member); },
                    place);
}

/// The schema of a value: numbers have bounds, enumerations choices.
template <typename T> static json::Object describeValue(const Field &field) {
  if constexpr (std::is_enum_v<T>)
    return json::Object{{"enum", json::Array(kChoices<T>)}};
  else if constexpr (std::is_same_v<T, bool>)
    return json::Object{{"type", "boolean"}};
  else if constexpr (std::is_same_v<T, double>)
    return json::Object{{"type", "number"},
                        {"minimum", field.minimum},
                        {"maximum", field.maximum}};
  else
    return json::Object{{"type", "integer"},
                        {"minimum", static_cast<int64_t>(field.minimum)},
                        {"maximum", static_cast<int64_t>(field.maximum)}};
}

template <typename T>
static json::Object describeMember(const Field &field, T ModelConfig::*) {
  if constexpr (std::is_same_v<T, std::string>)
    return json::Object{
        {"anyOf", json::Array{describeValue<int64_t>(field),
                              json::Object{{"type", "string"},
                                           {"pattern", "^([SL]+|[0-9]+)$"}}}}};
  else if constexpr (std::is_same_v<T, QkNorm>)
    return json::Object{{"anyOf", json::Array{describeValue<T>(field),
                                              describeValue<bool>(field)}}};
  else
    return describeValue<T>(field);
}

json::Object Field::describe() const {
  return std::visit([&](auto member) { return describeMember(*this, member); },
                    place);
}

ArrayRef<Field> nag::model::fields() {
  using C = ModelConfig;
  static const Field table[] = {
      {"layers", &C::layers, 1, 1 << 16},
      {"width", &C::width, 1, 1 << 20},
      {"heads", &C::heads, 1, 1 << 16},
      {"kv_heads", &C::kvHeads, 1, 1 << 16},
      {"hidden", &C::hidden, 1, 1 << 22},
      {"vocab", &C::vocab, 1, 1 << 24},
      {"padded_vocab", &C::paddedVocab, 1, 1 << 24},
      {"seq", &C::seq, 1, 1 << 22},
      {"batch", &C::batch, 1, 1 << 16},
      {"gate_directions", &C::gateDirections, 1, 1 << 16},
      {"residual", &C::residual},
      {"mlp", &C::mlp},
      {"qk_norm", &C::qkNorm},
      {"qk_scale", &C::qkScale, 1e-6, 1e6},
      {"rope_base", &C::ropeBase, 1e-3, 1e12},
      {"window", &C::window, 0, 1 << 22},
      {"tied", &C::tied},
      {"dtype", &C::dtype},
      {"eps", &C::eps, 0, 1},
      {"mod_policy", &C::modPolicy},
      {"mod_rate", &C::modRate, 0, 1},
      {"mod_kv", &C::modKv},
      {"mod_exempt", &C::modExempt, 0, 1 << 16},
      {"mod_warmup", &C::modWarmup, 0, 1 << 30},
      {"mod_ramp", &C::modRamp, 0, 1 << 30},
      {"mod_aux", &C::modAux, 0, 1e6},
      {"mod_temperature", &C::modTemperature, 1e-6, 1e6},
      {"mod_ema", &C::modEma, 0, 0.999999},
      {"embed_std", &C::embedStd, 1e-9, 1e9},
      {"head_std", &C::headStd, 0, 1e9},
      {"project_std", &C::projectStd, 0, 1e9},
      {"lr", &C::lr, 0, 1e3},
      {"gate_lr_scale", &C::gateLrScale, 0, 1e3},
      {"weight_decay", &C::weightDecay, 0, 1e3},
      {"beta1", &C::beta1, 0, 0.999999},
      {"beta2", &C::beta2, 0, 0.999999},
      {"adam_eps", &C::adamEps, 1e-30, 1},
  };
  return table;
}

const Field *nag::model::lookupField(StringRef name) {
  const Field *found =
      find_if(fields(), [&](const Field &field) { return field.name == name; });
  return found == fields().end() ? nullptr : found;
}

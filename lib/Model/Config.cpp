// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Model/Config.h"

#include "ConfigFields.h"
#include "nag/Support/Json.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace llvm;
using namespace nag::model;

namespace {

struct Preset {
  StringLiteral name;
  /// Fields that differ from ModelConfig's initial values.
  std::vector<std::pair<StringRef, json::Value>> settings;
};

} // namespace

/// Byte vocabularies but for nanochat, which follows the public checkpoints
/// (docs/mathematics.md section 7) and their tokenizer of 32768 tokens.
static ArrayRef<Preset> presets() {
  static const Preset table[] = {
      {"tiny", {{"layers", 4}, {"width", 128}, {"heads", 4}, {"seq", 128}}},
      {"small", {{"layers", 8}, {"width", 256}, {"heads", 8}, {"seq", 256}}},
      {"nanochat",
       {{"layers", 12},
        {"width", 768},
        {"heads", 6},
        {"seq", 2048},
        {"batch", 8},
        {"vocab", 32768},
        {"window", "SSSL"}}},
      {"deep", {{"layers", 64}, {"width", 64}, {"heads", 2}, {"seq", 128}}}};
  return table;
}

std::string nag::model::listPresets() {
  SmallVector<StringRef> names;
  for (const Preset &preset : presets())
    names.push_back(preset.name);
  return join(names, ", ");
}

/// Positions that S sees before its own.
static int64_t shortWindow(int64_t seq) {
  return divideCeil(divideCeil(seq, 4), 128) * 128;
}

std::vector<std::optional<int64_t>> ModelConfig::windows() const {
  std::vector<std::optional<int64_t>> result(layers);
  int64_t size;
  bool isSize = !StringRef(window).getAsInteger(10, size);
  for (int64_t i = 0; i != layers; ++i) {
    bool isShort = window[i % window.size()] == 'S' && i != layers - 1;
    if (!isSize)
      size = isShort ? shortWindow(seq) : seq;
    if (size < seq - 1)
      result[i] = size;
  }
  return result;
}

Error ConfigBuilder::setPreset(StringRef name, StringRef origin) {
  for (const Preset &preset : presets()) {
    if (preset.name != name)
      continue;
    config = ModelConfig();
    origins.clear();
    std::string source = formatv("preset {0}", name);
    for (const auto &[key, value] : preset.settings)
      if (Error error = set(key, value, source))
        return error;
    return Error::success();
  }
  return createStringError(formatv("{0}: expected one of {1}, but got '{2}'",
                                   origin, listPresets(), name)
                               .str());
}

/// The known key with the fewest edits, if that is few.
static std::string suggest(StringRef key) {
  const Field *nearest = std::min_element(
      fields().begin(), fields().end(), [&](const Field &a, const Field &b) {
        return a.name.edit_distance(key) < b.name.edit_distance(key);
      });
  if (nearest->name.edit_distance(key) > 1 + key.size() / 3)
    return "";
  return formatv(" (did you mean '{0}'?)", nearest->name);
}

Error ConfigBuilder::set(StringRef key, const json::Value &value,
                         StringRef origin) {
  const Field *field = lookupField(key);
  if (!field)
    return createStringError(
        formatv("{0}: expected a key of a model, but got '{1}'{2}", origin, key,
                suggest(key))
            .str());
  if (Error error = field->assign(config, value))
    return createStringError(
        formatv("{0}: {1}: {2}", origin, key, toString(std::move(error)))
            .str());
  origins[key] = origin.str();
  return Error::success();
}

static json::Value parseText(StringRef text) {
  int64_t integer;
  if (!text.getAsInteger(10, integer))
    return integer;
  double number;
  if (!text.getAsDouble(number))
    return number;
  if (text == "true" || text == "false")
    return text == "true";
  return text.str();
}

Error ConfigBuilder::setText(StringRef key, StringRef text, StringRef origin) {
  return set(key, parseText(text), origin);
}

Error ConfigBuilder::setAll(const json::Object &object, GetOrigin getOrigin) {
  if (const json::Value *preset = object.get("preset")) {
    std::optional<StringRef> name = preset->getAsString();
    std::string field = formatv("{0}: preset", getOrigin("preset"));
    if (Error error = setPreset(name ? *name : "", field))
      return error;
  }
  for (const auto &[key, value] : object)
    if (StringRef(key) != "preset" && StringRef(key) != "$schema")
      if (Error error = set(key, value, getOrigin(key)))
        return error;
  return Error::success();
}

Error ConfigBuilder::setAll(const json::Object &object, StringRef origin) {
  return setAll(object, [&](StringRef) { return origin.str(); });
}

/// "path:line" of a key in the text of an object without objects inside; the
/// path alone where the key is written with escapes.
static std::string locateKey(StringRef path, StringRef text, StringRef key) {
  std::string quoted = ("\"" + key + "\"").str();
  for (size_t at = text.find(quoted); at != StringRef::npos;
       at = text.find(quoted, at + 1))
    if (text.substr(at + quoted.size()).ltrim().starts_with(":"))
      return formatv("{0}:{1}", path, text.take_front(at).count('\n') + 1);
  return path.str();
}

/// "path:line:column: expected JSON, but got ..."; JSON's parser leads with
/// "[line:column, byte=n]: ".
static Error describeSyntax(StringRef path, Error error) {
  std::string text = toString(std::move(error));
  auto [place, message] = StringRef(text).split('\n').first.split("]: ");
  return createStringError(formatv("{0}:{1}: expected JSON, but got: {2}", path,
                                   place.ltrim('[').split(',').first, message)
                               .str());
}

Error ConfigBuilder::readFile(StringRef path) {
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return createStringError(
        formatv("{0}: {1}", path, buffer.getError().message()).str());
  Expected<json::Value> value = parseJson((*buffer)->getBuffer());
  if (!value)
    return describeSyntax(path, value.takeError());
  if (const json::Object *object = value->getAsObject())
    return setAll(*object, [&](StringRef key) {
      return locateKey(path, (*buffer)->getBuffer(), key);
    });
  return createStringError(
      formatv("{0}: expected a JSON object of model keys", path).str());
}

void ConfigBuilder::derive(ModelConfig &complete) const {
  auto isUnset = [&](StringRef key) { return !origins.contains(key); };
  bool isPrenorm = complete.residual == Residual::Prenorm;
  if (isUnset("kv_heads"))
    complete.kvHeads = complete.heads;
  if (isUnset("hidden"))
    complete.hidden = 4 * complete.width;
  if (isUnset("padded_vocab"))
    complete.paddedVocab = complete.vocab;
  if (isUnset("lr"))
    complete.lr = isPrenorm ? 1e-3 : 3e-3;
  if (isUnset("mod_exempt"))
    complete.modExempt = std::min<int64_t>(1, (complete.layers - 1) / 2);
  if (isUnset("head_std"))
    complete.headStd = isPrenorm ? 0.02 : 1.0;
}

Error ConfigBuilder::fail(StringRef key, const Twine &message) const {
  auto origin = origins.find(key);
  StringRef source = "model";
  if (origin != origins.end())
    source = origin->second;
  return createStringError(source + ": " + key + ": " + message);
}

/// Multiply-adds of a training step beyond which counts leave 64 bits.
static constexpr double kMaxOperations = 1e18;

static double estimateOperations(const ModelConfig &c) {
  double mats = (c.mlp == Mlp::Swiglu ? 3.0 : 2.0) * c.hidden +
                2.0 * (c.width + c.kvWidth()) + 2.0 * c.gateDirections;
  double perToken =
      c.layers * (mats + 2.0 * c.seq) * c.width + 2.0 * c.paddedVocab * c.width;
  return 6.0 * perToken * c.batch * c.seq;
}

Error ConfigBuilder::checkRouting(const ModelConfig &c) const {
  if (!c.isRouted()) {
    const ModelConfig unrouted;
    for (StringRef key :
         {"mod_rate", "mod_kv", "mod_aux", "mod_warmup", "mod_ramp"})
      if (origins.contains(key) &&
          lookupField(key)->read(c) != lookupField(key)->read(unrouted))
        return fail(key, "expected mod_policy threshold, capacity or rate with "
                         "it, but got none");
    return Error::success();
  }
  if (c.residual != Residual::Nag)
    return fail("mod_policy", "expected the residual nag, whose gates choose "
                              "the tokens, but got prenorm");
  if (!(c.modRate < 1))
    return fail("mod_rate",
                formatv("expected a rate below 1, but got {0}", c.modRate));
  if (2 * c.modExempt >= c.layers)
    return fail("mod_exempt", formatv("expected fewer than half of layers = "
                                      "{0}, but got {1}",
                                      c.layers, c.modExempt));
  if (c.hasSchedule() && c.modPolicy == ModPolicy::Threshold)
    return fail("mod_ramp", "expected mod_policy capacity or rate with a "
                            "schedule, but got threshold");
  return Error::success();
}

Error ConfigBuilder::check(const ModelConfig &c) const {
  if (c.width % c.heads)
    return fail("heads", formatv("expected a divisor of width = {0}, but got "
                                 "{1}",
                                 c.width, c.heads));
  if (c.headDim() % 2)
    return fail("heads", formatv("expected an even width / heads, but got {0} "
                                 "/ {1} = {2}",
                                 c.width, c.heads, c.headDim()));
  if (c.heads % c.kvHeads)
    return fail("kv_heads", formatv("expected a divisor of heads = {0}, but "
                                    "got {1}",
                                    c.heads, c.kvHeads));
  if (c.paddedVocab < c.vocab)
    return fail("padded_vocab", formatv("expected at least vocab = {0}, but "
                                        "got {1}",
                                        c.vocab, c.paddedVocab));
  if (c.headStd == 0 && c.residual == Residual::Nag && !c.tied)
    return fail("head_std", "expected a positive number in a nag model, whose "
                            "head rows have rms 1, but got 0");
  if (double operations = estimateOperations(c); operations > kMaxOperations)
    return fail("layers", formatv("expected sizes of at most {0:e0} operations "
                                  "per step, but got {1:e1}",
                                  kMaxOperations, operations));
  return checkRouting(c);
}

Expected<ModelConfig> ConfigBuilder::finish() const {
  ModelConfig complete = config;
  derive(complete);
  if (Error error = check(complete))
    return error;
  return complete;
}

json::Object nag::model::toJSON(const ModelConfig &config) {
  json::Object object;
  for (const Field &field : fields())
    object[field.name] = field.read(config);
  return object;
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Driver/PublicCheckpoint.h"

#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Errors.h"
#include "nag/Support/Json.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include <set>

using namespace nag;
using namespace nag::driver;
using namespace nag::runtime;
namespace json = llvm::json;

static constexpr llvm::StringLiteral compiledPrefix = "_orig_mod.";
static constexpr llvm::StringLiteral layersPrefix = "transformer.h.";

/// nag-nanochat's keys and ours.
static constexpr std::pair<llvm::StringLiteral, llvm::StringLiteral>
    keyNames[] = {{"n_layer", "layers"},       {"n_head", "heads"},
                  {"n_kv_head", "kv_heads"},   {"n_embd", "width"},
                  {"sequence_len", "seq"},     {"vocab_size", "vocab"},
                  {"window_pattern", "window"}};

/// Keys of ours that change what weights mean and that no shape tells. They
/// stand in an object of their own, where nag-nanochat does not look.
static constexpr llvm::StringLiteral ownKeys = "nag";
static constexpr llvm::StringLiteral ownNames[] = {
    "eps", "mlp", "qk_norm", "qk_scale", "rope_base", "tied"};

//===- Reading ------------------------------------------------------------===//

namespace {
/// A public file's tensors by their names without the compiler's prefix.
struct PublicFile {
  SafetensorsFile file;
  std::map<std::string, const SafetensorsEntry *> tensors;

  static llvm::Expected<std::unique_ptr<PublicFile>> open(llvm::StringRef path);
  /// Size `index` of a tensor of rank 2.
  llvm::Expected<int64_t> getSize(llvm::StringRef name, unsigned index) const;
};
} // namespace

llvm::Expected<std::unique_ptr<PublicFile>>
PublicFile::open(llvm::StringRef path) {
  auto opened = SafetensorsFile::open(path);
  if (!opened)
    return opened.takeError();
  auto result = std::make_unique<PublicFile>();
  result->file = std::move(*opened);
  for (const auto &[name, entry] : result->file.entries()) {
    llvm::StringRef plain = name;
    plain.consume_front(compiledPrefix);
    if (!result->tensors.insert({plain.str(), &entry}).second)
      return makeError("{0}: tensor '{1}': expected it once, but got it with "
                       "and without '{2}'",
                       path, plain, compiledPrefix);
  }
  return result;
}

llvm::Expected<int64_t> PublicFile::getSize(llvm::StringRef name,
                                            unsigned index) const {
  auto found = tensors.find(name.str());
  if (found == tensors.end())
    return makeError("{0}: tensor '{1}': expected it in a checkpoint of the "
                     "public layout, but the file has no such tensor",
                     file.path(), name);
  if (found->second->shape.size() != 2)
    return makeError("{0}: tensor '{1}': expected a matrix, but got {2}",
                     file.path(), name,
                     formatType(found->second->dtype, found->second->shape));
  return found->second->shape[index];
}

static int64_t countLayers(const PublicFile &file) {
  int64_t layers = 0;
  for (const auto &[name, entry] : file.tensors) {
    llvm::StringRef rest = name;
    int64_t layer;
    if (rest.consume_front(layersPrefix) &&
        !rest.split('.').first.getAsInteger(10, layer))
      layers = std::max(layers, layer + 1);
  }
  return layers;
}

/// Sets what the shapes tell. They win over nothing: a key that was given is
/// compared with them in checkAgainst.
static llvm::Error setShapes(const PublicFile &file,
                             std::map<std::string, int64_t> &sizes) {
  sizes["layers"] = countLayers(file);
  struct {
    const char *key, *tensor;
    unsigned index;
  } places[] = {
      {"width", "transformer.wte.weight", 1},
      {"padded_vocab", "transformer.wte.weight", 0},
      {"hidden", "transformer.h.0.mlp.c_fc.weight", 0},
      {"gate_directions", "transformer.h.0.attn_branch.m_down.weight", 0}};
  for (auto &[key, tensor, index] : places) {
    llvm::Expected<int64_t> size = file.getSize(tensor, index);
    if (!size)
      return size.takeError();
    sizes[key] = *size;
  }
  return llvm::Error::success();
}

/// The keys of a configuration file by our names.
static llvm::Expected<json::Object> readKeys(llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return makeError("{0}: {1}", path, buffer.getError().message());
  std::optional<json::Object> object = parseJsonObject((*buffer)->getBuffer());
  if (!object)
    return makeError("{0}: expected a JSON object of model keys", path);
  json::Object renamed;
  if (const json::Value *nested = object->get("model_config")) {
    const json::Object *inner = nested->getAsObject();
    if (!inner)
      return makeError("{0}: model_config: expected an object, but got {1}",
                       path, *nested);
    if (const json::Object *own = object->getObject(ownKeys))
      renamed = *own;
    json::Object copy = *inner;
    object = std::move(copy);
  }
  for (const auto &[key, value] : *object) {
    llvm::StringRef old = key;
    auto known = llvm::find_if(
        keyNames, [&](const auto &pair) { return pair.first == old; });
    // The name is the new object's own: the old one goes.
    std::string name =
        known == std::end(keyNames) ? old.str() : known->second.str();
    renamed[std::move(name)] = value;
  }
  return renamed;
}

llvm::Expected<model::ModelConfig>
nag::driver::readPublicConfig(const ImportOptions &options) {
  auto file = PublicFile::open(options.weights);
  if (!file)
    return file.takeError();
  std::map<std::string, int64_t> sizes;
  if (llvm::Error error = setShapes(**file, sizes))
    return error;
  model::ConfigBuilder builder;
  std::set<std::string> given;
  if (llvm::Error error = builder.setPreset("nanochat", "import"))
    return error;
  for (const auto &[key, size] : sizes)
    if (llvm::Error error = builder.set(key, size, options.weights))
      return error;
  if (llvm::Error error =
          builder.set("vocab", sizes["padded_vocab"], options.weights))
    return error;
  if (!options.config.empty()) {
    auto keys = readKeys(options.config);
    if (!keys)
      return keys.takeError();
    for (const auto &[key, value] : *keys)
      given.insert(llvm::StringRef(key).str());
    if (llvm::Error error = builder.setAll(*keys, options.config))
      return error;
  }
  for (const auto &[key, value] : options.settings) {
    given.insert(key);
    if (llvm::Error error = builder.setText(key, value, "--set"))
      return error;
  }
  if (!given.count("heads"))
    return makeError("{0}: expected the number of heads, which no shape tells: "
                     "give --config FILE or --set heads=N",
                     options.weights);
  auto config = builder.finish();
  if (!config)
    return config;
  json::Object complete = model::toJSON(*config);
  for (const auto &[key, size] : sizes)
    if (complete.getInteger(key) != size)
      return makeError("{0}: {1}: expected {2}, as the tensors of {3} have it, "
                       "but got {4}",
                       options.config.empty() ? "--set"
                                              : options.config.c_str(),
                       key, size, options.weights, *complete.getInteger(key));
  return config;
}

//===- Weights ------------------------------------------------------------===//

static DType getDType(model::ElementType type) {
  switch (type) {
  case model::ElementType::F32:
    return DType::F32;
  case model::ElementType::F64:
    return DType::F64;
  case model::ElementType::BF16:
    return DType::BF16;
  }
  llvm_unreachable("all element types are covered");
}

/// A source that writes an entry in another type.
static SafetensorsSource convert(std::string name, std::vector<int64_t> shape,
                                 const SafetensorsEntry &entry, DType dtype,
                                 std::shared_ptr<std::vector<char>> staging) {
  auto read = [&entry, dtype, staging]() -> llvm::Expected<const void *> {
    if (entry.dtype == dtype)
      return entry.data.data();
    int64_t count = getNumElements(entry.shape);
    staging->resize(count * getByteSize(dtype));
    for (int64_t i = 0; i < count; ++i)
      writeElement(dtype, staging->data(), i,
                   readElement(entry.dtype, entry.data.data(), i));
    return staging->data();
  };
  return {std::move(name), dtype, std::move(shape), std::move(read)};
}

/// The shape that a tensor of ours has: [1] may stand for a scalar.
static std::vector<int64_t> getOwnShape(llvm::StringRef name,
                                        const SafetensorsEntry &entry) {
  bool isScalar = name == "g_log_encode" || name.ends_with(".alpha") ||
                  name.ends_with(".beta");
  if (isScalar && getNumElements(entry.shape) == 1)
    return {};
  return entry.shape;
}

llvm::Error nag::driver::importWeights(const ImportOptions &options,
                                       const model::ModelConfig &config,
                                       llvm::StringRef output) {
  auto file = PublicFile::open(options.weights);
  if (!file)
    return file.takeError();
  auto staging = std::make_shared<std::vector<char>>();
  std::vector<SafetensorsSource> sources;
  for (const auto &[name, entry] : (*file)->tensors) {
    if (!isFloat(entry->dtype))
      return makeError("{0}: tensor '{1}': expected floats, but got {2}",
                       options.weights, name, getName(entry->dtype));
    std::vector<int64_t> shape = getOwnShape(name, *entry);
    // Vectors and scalars of bf16 models are f32.
    DType dtype = getDType(config.dtype);
    if (dtype == DType::BF16 && shape.size() < 2)
      dtype = DType::F32;
    if (getByteSize(entry->dtype) > getByteSize(dtype))
      return makeError("{0}: tensor '{1}': expected at most {2}, the model's "
                       "type, but got {3}",
                       options.weights, name, getName(dtype),
                       getName(entry->dtype));
    sources.push_back(convert(name, std::move(shape), *entry, dtype, staging));
  }
  json::Value text = model::toJSON(config);
  return writeSafetensors(output, sources,
                          {{"config", llvm::formatv("{0}", text).str()}});
}

//===- Exporting ----------------------------------------------------------===//

/// Those keys of ours in which a model is not as importing takes it to be.
static json::Object findOwnKeys(const json::Object &config) {
  model::ConfigBuilder builder;
  llvm::cantFail(builder.setPreset("nanochat", "export"));
  json::Object assumed = model::toJSON(llvm::cantFail(builder.finish()));
  json::Object own;
  for (llvm::StringRef name : ownNames)
    if (const json::Value *value = config.get(name);
        value && *value != *assumed.get(name))
      own[name] = *value;
  return own;
}

static llvm::Error writeConfig(const SafetensorsFile &file,
                               llvm::StringRef output) {
  const std::string *text = file.metadata("config");
  std::optional<json::Object> config;
  if (text)
    config = parseJsonObject(*text);
  if (!config)
    return makeError("{0}: field 'config': expected a JSON object, but the "
                     "file has none",
                     file.path());
  json::Object keys;
  for (const auto &[theirs, ours] : keyNames)
    if (const json::Value *value = config->get(ours))
      keys[theirs] = *value;
  json::Object whole{{"model_config", std::move(keys)}};
  if (json::Object own = findOwnKeys(*config); !own.empty())
    whole[ownKeys] = std::move(own);
  std::string body =
      llvm::formatv("{0:2}\n", json::Value(std::move(whole))).str();
  auto created = AtomicFile::create(output);
  if (!created)
    return created.takeError();
  if (llvm::Error error = created->write(body))
    return error;
  return created->commit();
}

llvm::Error nag::driver::exportWeights(const ExportOptions &options,
                                       llvm::StringRef output,
                                       llvm::StringRef configOutput) {
  auto path = resolveCheckpoint(options.checkpoint);
  if (!path)
    return path.takeError();
  auto file = SafetensorsFile::open(*path);
  if (!file)
    return file.takeError();
  for (llvm::StringRef name : {output, configOutput})
    if (llvm::sys::fs::equivalent(*path, name))
      return makeError("{0}: expected another file to write than the "
                       "checkpoint itself, whose moments would be lost",
                       name);
  if (!file->lookup("transformer.wte.weight"))
    return makeError("{0}: tensor 'transformer.wte.weight': expected a model's "
                     "weights, but the file has no such tensor",
                     *path);
  auto staging = std::make_shared<std::vector<char>>();
  std::vector<SafetensorsSource> sources;
  for (const auto &[name, entry] : file->entries()) {
    llvm::StringRef tensor = name;
    if (llvm::any_of(momentPrefixes, [&](llvm::StringRef prefix) {
          return tensor.starts_with(prefix);
        }))
      continue;
    DType dtype = options.dtype.value_or(entry.dtype);
    sources.push_back(convert(name, entry.shape, entry, dtype, staging));
  }
  if (!configOutput.empty())
    if (llvm::Error error = writeConfig(*file, configOutput))
      return error;
  return writeSafetensors(output, sources, {{"format", "pt"}});
}

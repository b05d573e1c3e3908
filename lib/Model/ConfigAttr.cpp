// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The configuration as the attribute nag.config of a module, and back.
#include "ConfigFields.h"
#include "ModelBuilder.h"

using namespace mlir;
using namespace nag;
using namespace nag::model;

static Attribute getFieldAttr(Builder &builder, const Field &field,
                              const ModelConfig &config) {
  llvm::json::Value value = field.read(config);
  if (field.isReal())
    return builder.getF64FloatAttr(*value.getAsNumber());
  if (std::optional<bool> flag = value.getAsBoolean())
    return builder.getBoolAttr(*flag);
  if (std::optional<StringRef> text = value.getAsString())
    return builder.getStringAttr(*text);
  return builder.getI64IntegerAttr(*value.getAsInteger());
}

DictionaryAttr nag::model::getConfigAttr(Builder &builder,
                                         const ModelConfig &config) {
  SmallVector<NamedAttribute> attributes;
  for (const Field &field : fields())
    if (config.isRouted() || !field.name.starts_with("mod_"))
      attributes.push_back(builder.getNamedAttr(
          field.name, getFieldAttr(builder, field, config)));
  return builder.getDictionaryAttr(attributes);
}

/// The JSON value of an attribute; nothing for one that no field has.
static std::optional<llvm::json::Value> toValue(Attribute attribute) {
  if (auto flag = dyn_cast<BoolAttr>(attribute))
    return flag.getValue();
  if (auto text = dyn_cast<StringAttr>(attribute))
    return text.getValue().str();
  if (auto integer = dyn_cast<IntegerAttr>(attribute))
    return integer.getValue().getSExtValue();
  if (auto number = dyn_cast<FloatAttr>(attribute))
    return number.getValueAsDouble();
  return std::nullopt;
}

llvm::Expected<ModelConfig> nag::model::readConfig(ModuleOp root,
                                                   StringRef origin) {
  auto attribute = root->getAttrOfType<DictionaryAttr>(kConfigAttrName);
  std::string source = (origin + ": " + kConfigAttrName).str();
  if (!attribute)
    return llvm::createStringError(
        source + ": expected a dictionary on the module, but got none");
  ConfigBuilder config;
  for (NamedAttribute field : attribute) {
    std::optional<llvm::json::Value> value = toValue(field.getValue());
    if (llvm::Error error =
            config.set(field.getName(), value ? *value : nullptr, source))
      return error;
  }
  return config.finish();
}

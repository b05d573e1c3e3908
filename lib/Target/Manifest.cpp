// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Target/Manifest.h"
#include "nag/Conversion/Passes.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"

using namespace llvm;
using namespace nag;
using runtime::TensorInfo;

static std::string toString(mlir::Type type) {
  std::string text;
  raw_string_ostream(text) << type;
  return text;
}

static Expected<TensorInfo> describe(StringRef name, mlir::Type type,
                                     TensorInfo::Access access) {
  auto tensor = cast<mlir::RankedTensorType>(type);
  auto dtype = runtime::parseDType(toString(tensor.getElementType()));
  if (!dtype)
    return createStringError("'" + name +
                             "': expected a tensor of f64, f32, "
                             "bf16, i64 or i32, but got " +
                             toString(type));
  return TensorInfo{name.str(), *dtype, tensor.getShape().vec(), access};
}

static Expected<EntryPoint> describe(mlir::func::FuncOp function) {
  EntryPoint entry;
  entry.info.name = function.getName().str();
  entry.symbol = getEntrySymbol(function.getName());
  entry.workspaceBytes =
      function->getAttrOfType<mlir::IntegerAttr>(kWorkspaceAttrName).getInt();
  auto append = [&](StringRef name, mlir::Type type,
                    TensorInfo::Access access) -> Error {
    auto info = describe(name, type, access);
    if (!info)
      return info.takeError();
    entry.info.arguments.push_back(std::move(*info));
    return Error::success();
  };
  for (auto [index, type] : enumerate(function.getArgumentTypes()))
    if (Error error = append(getArgumentBufferName(function, index), type,
                             TensorInfo::Access::Read))
      return error;
  auto buffers = getResultBuffers(function);
  for (auto [index, type] : enumerate(function.getResultTypes()))
    if (buffers[index] < function.getNumArguments())
      entry.info.arguments[buffers[index]].access =
          TensorInfo::Access::ReadWrite;
    else if (Error error = append(getResultBufferName(function, index), type,
                                  TensorInfo::Access::Write))
      return error;
  return entry;
}

static runtime::Init convert(InitAttr attribute) {
  runtime::Init init;
  auto values = attribute.getValues();
  auto value = [&](unsigned index) {
    return index < values.size() ? double(values[index]) : 0.0;
  };
  switch (attribute.getKind()) {
  case InitKind::Zeros:
    init.kind = runtime::Init::Kind::Zeros;
    break;
  case InitKind::Constant:
    init.kind = runtime::Init::Kind::Constant;
    init.value = value(0);
    break;
  case InitKind::Normal:
    init.kind = runtime::Init::Kind::Normal;
    init.std = value(0);
    break;
  case InitKind::Uniform:
    init.kind = runtime::Init::Kind::Uniform;
    init.std = value(0);
    break;
  case InitKind::Power:
    init.kind = runtime::Init::Kind::Power;
    init.exponent = value(0);
    init.stride = value(1);
    init.offset = value(2);
    break;
  }
  return init;
}

static Expected<runtime::ParameterInfo> describe(ParamAttr param,
                                                 mlir::Type type) {
  auto tensor = describe(param.getName(), type, TensorInfo::Access::Read);
  if (!tensor)
    return tensor.takeError();
  runtime::ParameterInfo info;
  info.name = tensor->name;
  info.dtype = tensor->dtype;
  info.shape = tensor->shape;
  info.layers = param.isStacked() ? info.shape.front() : 0;
  info.group = param.getGroup().str();
  info.init = convert(param.getInit());
  if (param.getConstraint() != Constraint::None)
    info.constraint = stringifyConstraint(param.getConstraint()).str();
  return info;
}

static Error
collectParameters(mlir::func::FuncOp function,
                  std::vector<runtime::ParameterInfo> &parameters) {
  for (auto [index, type] : enumerate(function.getArgumentTypes())) {
    auto param = function.getArgAttrOfType<ParamAttr>(index, kParamAttrName);
    if (!param)
      continue;
    auto info = describe(param, type);
    if (!info)
      return info.takeError();
    auto known = find_if(parameters, [&](const auto &other) {
      return other.name == info->name;
    });
    if (known == parameters.end())
      parameters.push_back(std::move(*info));
    else if (known->shape != info->shape || known->dtype != info->dtype)
      return createStringError("parameter '" + info->name +
                               "': expected type " +
                               runtime::formatType(known->dtype, known->shape) +
                               " as in another function, but got " +
                               runtime::formatType(info->dtype, info->shape));
  }
  return Error::success();
}

/// Numbers, strings, booleans, arrays and dictionaries; other attributes as
/// their text.
static json::Value attributeToJSON(mlir::Attribute attribute) {
  if (auto dictionary = dyn_cast<mlir::DictionaryAttr>(attribute)) {
    json::Object object;
    for (mlir::NamedAttribute entry : dictionary)
      object[entry.getName().str()] = attributeToJSON(entry.getValue());
    return object;
  }
  if (auto array = dyn_cast<mlir::ArrayAttr>(attribute)) {
    json::Array values;
    for (mlir::Attribute element : array)
      values.push_back(attributeToJSON(element));
    return values;
  }
  if (auto flag = dyn_cast<mlir::BoolAttr>(attribute))
    return flag.getValue();
  if (auto integer = dyn_cast<mlir::IntegerAttr>(attribute))
    return integer.getValue().getSExtValue();
  if (auto number = dyn_cast<mlir::FloatAttr>(attribute))
    return number.getValueAsDouble();
  if (auto text = dyn_cast<mlir::StringAttr>(attribute))
    return text.getValue().str();
  std::string text;
  raw_string_ostream(text) << attribute;
  return text;
}

Expected<Manifest> nag::buildManifest(mlir::ModuleOp program) {
  Manifest manifest;
  for (auto function : program.getOps<mlir::func::FuncOp>()) {
    if (function.isPrivate())
      continue;
    auto entry = describe(function);
    if (!entry)
      return createStringError("function '" + function.getName() +
                               "': " + toString(entry.takeError()));
    manifest.functions.push_back(std::move(*entry));
    if (Error error = collectParameters(function, manifest.parameters))
      return error;
  }
  if (auto config =
          program->getAttrOfType<mlir::DictionaryAttr>(kConfigAttrName))
    manifest.config = std::move(*attributeToJSON(config).getAsObject());
  return manifest;
}

static json::Value toJSON(const TensorInfo &tensor) {
  StringRef access = tensor.access == TensorInfo::Access::Read    ? "read"
                     : tensor.access == TensorInfo::Access::Write ? "write"
                                                                  : "readwrite";
  return json::Object{{"name", tensor.name},
                      {"dtype", runtime::getName(tensor.dtype)},
                      {"shape", json::Array(tensor.shape)},
                      {"access", access}};
}

static json::Value toJSON(const runtime::Init &init) {
  switch (init.kind) {
  case runtime::Init::Kind::Zeros:
    return json::Object{{"kind", "zeros"}};
  case runtime::Init::Kind::Constant:
    return json::Object{{"kind", "constant"}, {"value", init.value}};
  case runtime::Init::Kind::Normal:
    return json::Object{{"kind", "normal"}, {"std", init.std}};
  case runtime::Init::Kind::Uniform:
    return json::Object{{"kind", "uniform"}, {"std", init.std}};
  case runtime::Init::Kind::Power:
    return json::Object{{"kind", "power"},
                        {"exponent", init.exponent},
                        {"stride", init.stride},
                        {"offset", init.offset}};
  }
  llvm_unreachable("all kinds are covered");
}

static json::Value toJSON(const runtime::ParameterInfo &parameter) {
  return json::Object{{"name", parameter.name},
                      {"layers", parameter.layers},
                      {"dtype", runtime::getName(parameter.dtype)},
                      {"shape", json::Array(parameter.shape)},
                      {"group", parameter.group},
                      {"init", toJSON(parameter.init)},
                      {"constraint", parameter.constraint}};
}

static json::Value toJSON(const EntryPoint &entry) {
  json::Array arguments;
  for (const TensorInfo &tensor : entry.info.arguments)
    arguments.push_back(toJSON(tensor));
  return json::Object{{"name", entry.info.name},
                      {"symbol", entry.symbol},
                      {"arguments", std::move(arguments)},
                      {"workspace_bytes", entry.workspaceBytes}};
}

json::Value nag::toJSON(const Manifest &manifest) {
  json::Array functions, parameters;
  for (const EntryPoint &entry : manifest.functions)
    functions.push_back(::toJSON(entry));
  for (const runtime::ParameterInfo &parameter : manifest.parameters)
    parameters.push_back(::toJSON(parameter));
  return json::Object{{"functions", std::move(functions)},
                      {"parameters", std::move(parameters)},
                      {"config", json::Object(manifest.config)}};
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of a configuration's fields: name, place, range.
#ifndef NAG_LIB_MODEL_CONFIGFIELDS_H
#define NAG_LIB_MODEL_CONFIGFIELDS_H

#include "nag/Model/Config.h"
#include "llvm/ADT/ArrayRef.h"
#include <variant>

namespace nag::model {

using FieldPlace =
    std::variant<int64_t ModelConfig::*, double ModelConfig::*,
                 bool ModelConfig::*, std::string ModelConfig::*,
                 Residual ModelConfig::*, Mlp ModelConfig::*,
                 QkNorm ModelConfig::*, ElementType ModelConfig::*,
                 ModPolicy ModelConfig::*, ModKv ModelConfig::*>;

struct Field {
  llvm::StringLiteral name;
  FieldPlace place;
  /// Bounds of a number, inclusive.
  double minimum = 0;
  double maximum = 0;

  /// Sets the field in `config`; fails with "expected X, but got Y".
  llvm::Error assign(ModelConfig &config, const llvm::json::Value &value) const;
  llvm::json::Value read(const ModelConfig &config) const;
  /// The values that `assign` takes, as a JSON Schema.
  llvm::json::Object describe() const;
  /// True of fields that hold real numbers, whole ones too.
  bool isReal() const {
    return std::holds_alternative<double ModelConfig::*>(place);
  }
};

/// All fields, sizes first.
llvm::ArrayRef<Field> fields();

/// The field of that name, or null.
const Field *lookupField(llvm::StringRef name);

} // namespace nag::model

#endif // NAG_LIB_MODEL_CONFIGFIELDS_H

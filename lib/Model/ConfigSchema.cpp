// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The table of fields as a JSON Schema (draft 2020-12): what configuration
// files may hold, for editors and for readers.
#include "ConfigFields.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace nag::model;

namespace {

struct Description {
  StringLiteral field;
  StringLiteral text;
  /// True when the default follows from other fields.
  bool isDerived = false;
};

} // namespace

static ArrayRef<Description> descriptions() {
  static constexpr Description table[] = {
      {"layers", "Layers, each of an attention and an MLP sub-layer."},
      {"width", "Width of the residual stream, a multiple of heads."},
      {"heads", "Attention heads."},
      {"kv_heads",
       "Key and value heads, a divisor of heads; as many as heads unless set.",
       true},
      {"hidden", "Inner width of the MLP; 4 * width unless set.", true},
      {"vocab", "Tokens of the vocabulary."},
      {"padded_vocab",
       "Rows of the embedding matrices; vocab unless set. Rows from vocab on "
       "never count.",
       true},
      {"seq", "Tokens of a sequence."},
      {"batch", "Sequences of a batch."},
      {"gate_directions", "Directions of each gate's modulator."},
      {"residual", "How a sub-layer's branch joins the residual: rotation of a "
                   "norm-agnostic stream, or x + F(rms_norm(x))."},
      {"mlp", "Activation of the MLP."},
      {"qk_norm", "RMS norm of queries and keys per head: none, without gain, "
                  "or with a learned gain. true means fixed, false none."},
      {"qk_scale", "Factor of normed queries and keys."},
      {"rope_base", "Base of the rotary embedding's wavelengths."},
      {"window",
       "Positions before its own that a token sees: a number for all layers, "
       "or a pattern of S (short) and L (all) over the layers, whose last is "
       "always L."},
      {"tied", "One matrix for embedding and unembedding."},
      {"dtype", "Element type of activations and matrices."},
      {"eps", "Added to mean squares before square roots."},
      {"mod_policy", "Depth routing: which tokens a sub-layer executes."},
      {"mod_rate", "Share of the tokens that skip a routed sub-layer."},
      {"mod_kv", "Keys and values of a routed attention: of all tokens, or of "
                 "those executed."},
      {"mod_exempt",
       "Layers at either end that execute every token; 1 unless set, 0 where "
       "no layer would be routed then.",
       true},
      {"mod_warmup", "Steps of training that execute every token."},
      {"mod_ramp", "Steps behind them in which the rate grows."},
      {"mod_aux", "Weight of the auxiliary loss (mean skip - mod_rate)^2."},
      {"mod_temperature", "Temperature of the auxiliary loss's sigmoid."},
      {"mod_ema", "Decay of the thresholds' moving average, per step."},
      {"embed_std", "Standard deviation of initial embeddings."},
      {"head_std",
       "Standard deviation of the initial unembedding; 1, or 0.02 in prenorm "
       "models, unless set.",
       true},
      {"project_std", "Standard deviation of the branches' initial output "
                      "projections; 0 starts at zero."},
      {"lr", "Peak learning rate; 3e-3, or 1e-3 in prenorm models, unless set.",
       true},
      {"gate_lr_scale", "Learning rate of gate parameters relative to lr."},
      {"weight_decay", "Decoupled decay of matrices."},
      {"beta1", "Decay of the optimizer's first moment."},
      {"beta2", "Decay of the optimizer's second moment."},
      {"adam_eps", "Added to the root of the second moment."},
  };
  return table;
}

static json::Object describe(const Field &field) {
  json::Object schema = field.describe();
  const Description *found = find_if(descriptions(), [&](const Description &d) {
    return d.field == field.name;
  });
  bool isKnown = found != descriptions().end();
  if (isKnown)
    schema["description"] = found->text;
  if (!isKnown || !found->isDerived)
    schema["default"] = field.read(ModelConfig());
  return schema;
}

json::Object nag::model::getConfigSchema() {
  json::Array names;
  std::string presets = listPresets();
  for (StringRef name : split(presets, ", "))
    names.push_back(name.str());
  json::Object properties{
      {"$schema", json::Object{{"type", "string"},
                               {"description", "This schema; ignored."}}},
      {"preset", json::Object{{"enum", std::move(names)},
                              {"description",
                               "Values for the fields that are not given."}}}};
  for (const Field &field : fields())
    properties[field.name] = describe(field);
  return json::Object{
      {"$schema", "https://json-schema.org/draft/2020-12/schema"},
      {"title", "A model of nagc model --config"},
      {"type", "object"},
      {"properties", std::move(properties)},
      {"additionalProperties", false}};
}

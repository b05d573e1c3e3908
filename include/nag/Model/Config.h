// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a model is made of: sizes, parts, initial values, optimizer settings.
#ifndef NAG_MODEL_CONFIG_H
#define NAG_MODEL_CONFIG_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nag::model {

/// How a sub-layer's branch joins the residual: rotation of a NAG stream, or
/// x + F(rms_norm(x)).
enum class Residual { Nag, Prenorm };
/// The MLP: up, activation, down. SwiGLU has a gate matrix beside up.
enum class Mlp { Relu2, Gelu, Swiglu };
/// RMS norm of queries and keys per head: none, without gain, or with a learned
/// gain.
enum class QkNorm { None, Fixed, Learned };
/// Depth routing (docs/mathematics.md section 4): none, or which tokens a
/// sub-layer executes.
enum class ModPolicy { None, Threshold, Capacity, Rate };
/// Keys and values of a routed attention: of all tokens or of those executed.
enum class ModKv { All, Routed };
/// Element type of activations and matrices. Scalars, vectors and optimizer
/// moments are f32 in bf16 models.
enum class ElementType { F32, F64, BF16 };

/// A complete and consistent configuration; its fields are the keys of --set
/// and of configuration files, in snake_case. ConfigBuilder makes it.
struct ModelConfig {
  int64_t layers = 4;
  /// Residual stream; a multiple of `heads`.
  int64_t width = 128;
  int64_t heads = 4;
  /// Key and value heads, a divisor of `heads`; as many as heads unless set.
  int64_t kvHeads = 4;
  /// Inner width of the MLP; 4 * width unless set.
  int64_t hidden = 512;
  int64_t vocab = 256;
  /// Rows of the embedding matrices; `vocab` unless set. Rows from vocab on
  /// never count.
  int64_t paddedVocab = 256;
  int64_t seq = 128;
  int64_t batch = 16;
  /// C of the modulator (docs/mathematics.md section 2).
  int64_t gateDirections = 32;

  Residual residual = Residual::Nag;
  Mlp mlp = Mlp::Relu2;
  QkNorm qkNorm = QkNorm::Fixed;
  /// Factor of normed queries and keys.
  double qkScale = 1.2;
  double ropeBase = 1e5;
  /// A number of positions for all layers, or a pattern of S and L that is
  /// repeated over the layers: L sees everything, S the last
  /// ceil(seq/4/128)*128 positions; with a pattern the last layer is always L.
  std::string window = "L";
  /// One matrix for embedding and unembedding.
  bool tied = false;
  ElementType dtype = ElementType::F32;
  /// e of rms_e (docs/mathematics.md section 3).
  double eps = 1.1920928955078125e-07;

  ModPolicy modPolicy = ModPolicy::None;
  /// Share of the tokens that skip a routed sub-layer, in [0, 1).
  double modRate = 0;
  ModKv modKv = ModKv::All;
  /// Layers at either end that execute every token; 1 unless set, fewer where
  /// no layer would be routed then.
  int64_t modExempt = 1;
  /// Steps of training that execute every token, and then steps in which the
  /// rate grows to modRate. With a schedule, the number of rows is decided at
  /// run time.
  int64_t modWarmup = 0, modRamp = 0;
  /// Weight of the auxiliary loss (mean skip - modRate)^2, averaged over the
  /// routed sub-layers; and the temperature of its sigmoid.
  double modAux = 0, modTemperature = 0.05;
  /// Decay of the thresholds' moving average, per step.
  double modEma = 0.95;

  /// Standard deviations of initial values. Embeddings and head are normal, the
  /// branches' output projections uniform; 0 starts at zero. head_std is 0.02
  /// in prenorm models unless set.
  double embedStd = 1.0;
  double headStd = 1.0;
  double projectStd = 0.0;

  /// Peak learning rate: 3e-3, or 1e-3 in prenorm models, unless set.
  double lr = 3e-3;
  /// Learning rate of gate parameters relative to lr.
  double gateLrScale = 0.1;
  /// Decoupled decay of matrices.
  double weightDecay = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double adamEps = 1e-8;

  int64_t headDim() const { return width / heads; }
  /// Width of keys and values.
  int64_t kvWidth() const { return kvHeads * headDim(); }
  /// Positions before its own that a token of each layer sees; nothing where
  /// it sees all.
  std::vector<std::optional<int64_t>> windows() const;

  bool isRouted() const { return modPolicy != ModPolicy::None; }
  /// True when the tokens that layer `layer` executes are chosen.
  bool isRouted(int64_t layer) const {
    return isRouted() && layer >= modExempt && layer < layers - modExempt;
  }
  /// True when training changes the rate of a capacity on the way.
  bool hasSchedule() const { return modWarmup > 0 || modRamp > 0; }
};

/// Collects settings from a preset, files and the command line, later ones over
/// earlier ones, and completes them. `origin` says in errors where a setting
/// comes from: a file name, "--set".
class ConfigBuilder {
public:
  /// Starts over with the preset tiny, small, nanochat or deep.
  llvm::Error setPreset(llvm::StringRef name, llvm::StringRef origin);
  /// Sets one field from its value; fails on unknown keys and on values of the
  /// wrong kind or out of range.
  llvm::Error set(llvm::StringRef key, const llvm::json::Value &value,
                  llvm::StringRef origin);
  /// Sets one field from text: a number, true, false or a word.
  llvm::Error setText(llvm::StringRef key, llvm::StringRef text,
                      llvm::StringRef origin);
  /// Sets the fields of an object. Its key "preset", if any, counts first;
  /// "$schema", which editors look for, is left out.
  llvm::Error setAll(const llvm::json::Object &object, llvm::StringRef origin);
  /// Reads a JSON file; errors name the line.
  llvm::Error readFile(llvm::StringRef path);

  /// Completes the fields that follow from others and checks how they fit.
  llvm::Expected<ModelConfig> finish() const;

private:
  using GetOrigin = llvm::function_ref<std::string(llvm::StringRef key)>;
  llvm::Error setAll(const llvm::json::Object &object, GetOrigin getOrigin);
  void derive(ModelConfig &complete) const;
  llvm::Error check(const ModelConfig &complete) const;
  llvm::Error checkRouting(const ModelConfig &complete) const;
  llvm::Error fail(llvm::StringRef key, const llvm::Twine &message) const;

  ModelConfig config;
  /// Where each field that was set got its value from.
  llvm::StringMap<std::string> origins;
};

/// The names that ConfigBuilder::setPreset knows, comma-separated.
std::string listPresets();

/// All fields, as setAll reads them.
llvm::json::Object toJSON(const ModelConfig &config);

/// What setAll reads, as a JSON Schema. Conditions on several fields, which
/// finish() checks, are not in it.
llvm::json::Object getConfigSchema();

} // namespace nag::model

#endif // NAG_MODEL_CONFIG_H

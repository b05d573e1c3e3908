// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a run reports: one JSON object per line and step, and the health of the
// gates.
#ifndef NAG_RUNTIME_METRICS_H
#define NAG_RUNTIME_METRICS_H

#include "nag/Runtime/Files.h"
#include "nag/Runtime/Program.h"
#include "nag/Runtime/Routing.h"
#include <optional>
#include <vector>

namespace nag::runtime {

/// Mean loss over a stream of tokens.
struct Evaluation {
  /// Nats per token.
  double loss = 0;
  /// Bits per byte of text, where the bytes per token are known.
  std::optional<double> bitsPerByte;
  /// Tokens that counted.
  int64_t tokens = 0;
};

/// How open each sub-layer's gate is (docs/mathematics.md section 6), over the
/// tokens of a batch. `mean` and `floor` are of |g| without the warm-up factor
/// of alpha; `angle` and `logGain` of the update that was made, with it.
struct GateHealth {
  /// A token is at the floor when |g| is below this (q is then near its 1e-6).
  static constexpr double floorBelow = 1e-5;
  /// A sub-layer is dead when its mean |g| is below this.
  static constexpr double deadBelow = 0.05;

  /// Per sub-layer: mean |g|, share of tokens at the floor.
  std::vector<double> mean, floor;
  /// Per sub-layer: mean angle atan |g| of the rotation, in radians; mean
  /// increase log(1 + g^2) / 2 of the log-norm.
  std::vector<double> angle, logGain;

  int64_t countDead() const;

  /// From gates [S,B,T] in host memory that were computed with `gateScale`.
  static GateHealth compute(const TensorInfo &info, const void *gates,
                            double gateScale);
};

/// Means over the tokens of each row [1+S,B,T] of norms in host memory; NaN
/// where none is finite.
std::vector<double> averageNorms(const TensorInfo &info, const void *norms);

/// The gates of a few tokens: what a picture of tokens by sub-layers shows.
struct GateSample {
  /// The first tokens of a batch's first sequence.
  std::vector<int32_t> tokens;
  /// |g| of these tokens, sub-layer after sub-layer.
  std::vector<double> gates;

  /// 1 where such a token executed the sub-layer, else 0; empty where nothing
  /// is routed.
  std::vector<double> executed;

  /// From gates [S,B,T] and tokens [B,T] in host memory, and for routed
  /// programs the offsets [S,B+1] of the rows that each sequence executed; at
  /// most `limit` tokens.
  static GateSample compute(const TensorInfo &info, const void *gates,
                            llvm::ArrayRef<int32_t> tokens,
                            llvm::ArrayRef<int32_t> offsets = {},
                            int64_t limit = 64);
};

/// Where the wall-clock time of a step goes, in seconds.
struct StepSeconds {
  /// Reading batches; forward and backward passes; the optimizer.
  double data = 0, gradients = 0, apply = 0;
};

/// One step of training.
struct StepMetrics {
  int64_t step = 0;
  double loss = 0;
  double learningRate = 0;
  double gradientNorm = 0;
  /// Tokens trained on since step 0.
  int64_t tokens = 0;
  double tokensPerSecond = 0;
  StepSeconds seconds;
  std::optional<Evaluation> validation;
  std::optional<GateHealth> gates;
  /// Mean log rms of a baseline's residual, of the embedding and after each
  /// sub-layer; empty where the program has no norms.
  std::vector<double> logNorms;
  /// At the last step.
  std::optional<GateSample> sample;
  /// Of a routed program.
  std::optional<SkipReport> skips;
  /// Where the costs of the program are known.
  std::optional<ExecutedReport> executed;
};

/// {"step":3,"loss":5.2,"lr":1e-3,"grad_norm":1.1,"tokens":6144,
///  "tokens_per_s":1e5,"seconds":{"data":1e-4,"gradients":0.1,"apply":0.01}
///  [,"val_loss":2.4,"val_bits_per_byte":3.4,"val_tokens":9]
///  [,"gates":{"mean":[],"floor":[],"angle":[],"log_gain":[],"dead":0}]
///  [,"skips":[],"routing":{"rate":0.25,"mean":0.25,"thresholds":[]}]
///  [,"executed":{"flops":1e9,"total_flops":3e9,"parameters_per_token":1e5,
///                "kv_bytes_per_token":4096}]
///  [,"residual":{"log_norm":[]}]
///  [,"sample":{"tokens":[],"gates":[]}]}
std::string formatJson(const StepMetrics &metrics);

/// A file of such lines.
class MetricsLog {
public:
  MetricsLog() = default;

  /// Opens `path`. Lines of steps after `resumedStep`, and a line cut short,
  /// are dropped, so that a resumed run repeats no step; 0 starts anew.
  static llvm::Expected<MetricsLog> open(llvm::StringRef path,
                                         int64_t resumedStep);

  llvm::Error write(const StepMetrics &metrics);

private:
  std::optional<AppendFile> file;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_METRICS_H

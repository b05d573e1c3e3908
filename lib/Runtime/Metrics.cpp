// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Metrics.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Errors.h"
#include "nag/Support/Json.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include <cmath>
#include <numeric>

using namespace nag::runtime;
namespace json = llvm::json;

int64_t GateHealth::countDead() const {
  return llvm::count_if(mean, [](double value) { return value < deadBelow; });
}

GateHealth GateHealth::compute(const TensorInfo &info, const void *gates,
                               double gateScale) {
  GateHealth health;
  int64_t layers = info.shape.empty() ? 1 : info.shape.front();
  int64_t tokens = layers ? getNumElements(info.shape) / layers : 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    double sum = 0, angles = 0, gains = 0;
    int64_t atFloor = 0;
    for (int64_t i = 0; i < tokens; ++i) {
      double gate =
          std::abs(readElement(info.dtype, gates, layer * tokens + i));
      sum += gate;
      angles += std::atan(gate);
      gains += std::log1p(gate * gate) / 2;
      atFloor += gate < floorBelow * gateScale;
    }
    health.mean.push_back(sum / (gateScale * double(tokens)));
    health.floor.push_back(double(atFloor) / double(tokens));
    health.angle.push_back(angles / double(tokens));
    health.logGain.push_back(gains / double(tokens));
  }
  return health;
}

std::vector<double> nag::runtime::averageNorms(const TensorInfo &info,
                                               const void *norms) {
  std::vector<double> means;
  int64_t layers = info.shape.empty() ? 1 : info.shape.front();
  int64_t tokens = layers ? getNumElements(info.shape) / layers : 0;
  for (int64_t layer = 0; layer < layers; ++layer) {
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = 0; i < tokens; ++i) {
      double norm = readElement(info.dtype, norms, layer * tokens + i);
      if (!std::isfinite(norm))
        continue;
      sum += norm;
      ++count;
    }
    means.push_back(sum / double(count));
  }
  return means;
}

GateSample GateSample::compute(const TensorInfo &info, const void *gates,
                               llvm::ArrayRef<int32_t> tokens,
                               llvm::ArrayRef<int32_t> offsets, int64_t limit) {
  GateSample sample;
  if (info.shape.size() != 3)
    return sample;
  int64_t seq = info.shape[2], perLayer = info.shape[1] * seq;
  int64_t count = std::min({limit, seq, int64_t(tokens.size())});
  sample.tokens.assign(tokens.begin(), tokens.begin() + count);
  for (int64_t layer = 0; layer < info.shape[0]; ++layer) {
    std::vector<float> scores;
    for (int64_t i = 0; i < seq; ++i)
      scores.push_back(float(
          std::abs(readElement(info.dtype, gates, layer * perLayer + i))));
    sample.gates.insert(sample.gates.end(), scores.begin(),
                        scores.begin() + count);
    if (int64_t(offsets.size()) != info.shape[0] * (info.shape[1] + 1))
      continue;
    llvm::ArrayRef<int32_t> rows =
        offsets.slice(layer * (info.shape[1] + 1), info.shape[1] + 1);
    std::vector<char> executed = markExecuted(scores, rows[1] - rows[0]);
    sample.executed.insert(sample.executed.end(), executed.begin(),
                           executed.begin() + count);
  }
  return sample;
}

/// A JSON number, or null for what JSON has no number for.
static json::Value toJson(double value) {
  return std::isfinite(value) ? json::Value(value) : json::Value(nullptr);
}

static json::Array toJson(llvm::ArrayRef<double> values) {
  json::Array array;
  for (double value : values)
    array.push_back(toJson(value));
  return array;
}

static void writeValidation(json::OStream &out, const Evaluation &validation) {
  out.attribute("val_loss", toJson(validation.loss));
  if (validation.bitsPerByte)
    out.attribute("val_bits_per_byte", toJson(*validation.bitsPerByte));
  out.attribute("val_tokens", validation.tokens);
}

static void writeGates(json::OStream &out, const GateHealth &gates) {
  out.attributeObject("gates", [&] {
    out.attribute("mean", toJson(gates.mean));
    out.attribute("floor", toJson(gates.floor));
    out.attribute("angle", toJson(gates.angle));
    out.attribute("log_gain", toJson(gates.logGain));
    out.attribute("dead", gates.countDead());
  });
}

static void writeSkips(json::OStream &out, const SkipReport &skips) {
  out.attribute("skips", toJson(skips.share));
  out.attributeObject("routing", [&] {
    out.attribute("rate", toJson(skips.rate));
    out.attribute("mean", toJson(skips.mean()));
    if (!skips.thresholds.empty())
      out.attribute("thresholds", toJson(skips.thresholds));
  });
}

static void writeExecuted(json::OStream &out, const ExecutedReport &executed) {
  out.attributeObject("executed", [&] {
    out.attribute("flops", toJson(executed.flops));
    out.attribute("total_flops", toJson(executed.totalFlops));
    out.attribute("parameters_per_token", toJson(executed.parametersPerToken));
    out.attribute("kv_bytes_per_token", toJson(executed.kvBytesPerToken));
  });
}

static void writeSeconds(json::OStream &out, const StepSeconds &seconds) {
  out.attributeObject("seconds", [&] {
    out.attribute("data", toJson(seconds.data));
    out.attribute("gradients", toJson(seconds.gradients));
    out.attribute("apply", toJson(seconds.apply));
  });
}

std::string nag::runtime::formatJson(const StepMetrics &metrics) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  json::OStream out(stream);
  out.object([&] {
    out.attribute("step", metrics.step);
    out.attribute("loss", toJson(metrics.loss));
    out.attribute("lr", toJson(metrics.learningRate));
    out.attribute("grad_norm", toJson(metrics.gradientNorm));
    out.attribute("tokens", metrics.tokens);
    out.attribute("tokens_per_s", toJson(metrics.tokensPerSecond));
    writeSeconds(out, metrics.seconds);
    if (metrics.validation)
      writeValidation(out, *metrics.validation);
    if (metrics.gates)
      writeGates(out, *metrics.gates);
    if (metrics.skips)
      writeSkips(out, *metrics.skips);
    if (metrics.executed)
      writeExecuted(out, *metrics.executed);
    if (!metrics.logNorms.empty())
      out.attributeObject("residual", [&] {
        out.attribute("log_norm", toJson(metrics.logNorms));
      });
    if (metrics.sample)
      out.attributeObject("sample", [&] {
        out.attribute("tokens", json::Array(metrics.sample->tokens));
        out.attribute("gates", toJson(metrics.sample->gates));
        if (!metrics.sample->executed.empty())
          out.attribute("executed", toJson(metrics.sample->executed));
      });
  });
  return text;
}

/// Bytes of the lines, from the first, that belong to steps up to `step`.
static uint64_t countBytesUpTo(llvm::StringRef text, int64_t step) {
  uint64_t kept = 0;
  while (kept < text.size()) {
    size_t end = text.find('\n', kept);
    if (end == llvm::StringRef::npos)
      break;
    std::optional<json::Object> line =
        nag::parseJsonObject(text.slice(kept, end));
    std::optional<int64_t> at = line ? line->getInteger("step") : std::nullopt;
    if (!at || *at > step)
      break;
    kept = end + 1;
  }
  return kept;
}

llvm::Expected<MetricsLog> MetricsLog::open(llvm::StringRef path,
                                            int64_t resumedStep) {
  uint64_t kept = 0;
  if (resumedStep > 0 && llvm::sys::fs::is_regular_file(path)) {
    llvm::Expected<MappedFile> existing = MappedFile::open(path);
    if (!existing)
      return existing.takeError();
    llvm::ArrayRef<uint8_t> bytes = existing->bytes();
    kept = countBytesUpTo(
        {reinterpret_cast<const char *>(bytes.data()), bytes.size()},
        resumedStep);
  }
  llvm::Expected<AppendFile> file = AppendFile::open(path, kept);
  if (!file)
    return file.takeError();
  MetricsLog log;
  log.file = std::move(*file);
  return log;
}

llvm::Error MetricsLog::write(const StepMetrics &metrics) {
  return file ? file->append(formatJson(metrics) + "\n")
              : llvm::Error::success();
}

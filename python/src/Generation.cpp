// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Generation with a cache of keys and values.
#include "Program.h"

#include "nag/Runtime/CachedGenerator.h"
#include "nag/Runtime/Errors.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;
using namespace nag;
using namespace nag::python;

namespace {
/// A generator, the program that it runs and the weights that it reads.
struct Generator {
  std::shared_ptr<ProgramState> state;
  nb::object weights;
  std::unique_ptr<runtime::CachedGenerator> generator;

  /// Runs with the GIL released, one call of the program at a time.
  template <typename Work> auto run(Work work) {
    state->get();
    nb::gil_scoped_release released;
    std::lock_guard<std::mutex> lock(state->mutex);
    return work();
  }
};
} // namespace

/// Weights may be another program's: their parameters must be the same.
static void checkParameters(const runtime::Program &program,
                            const runtime::Program &other) {
  auto describe = [](const runtime::ParameterInfo &info) {
    return runtime::formatType(info.dtype, info.shape);
  };
  for (const runtime::ParameterInfo &info : program.parameters()) {
    std::string actual = "nothing";
    for (const runtime::ParameterInfo &found : other.parameters())
      if (found.name == info.name)
        actual = describe(found);
    if (actual != describe(info))
      raise(ErrorKind::Argument, "weights: parameter '" + info.name +
                                     "': expected " + describe(info) +
                                     ", but got " + actual);
  }
}

static std::unique_ptr<Generator>
create(const Program &program, nb::object weights,
       const std::vector<double> &thresholds) {
  auto &given = nb::cast<Weights &>(weights);
  runtime::Program &compiled = program.state->get();
  checkParameters(compiled, *given.state->program);
  auto result = std::make_unique<Generator>();
  result->state = program.state;
  result->weights = weights;
  result->generator =
      take(runtime::CachedGenerator::create(compiled, given.buffers));
  check(result->generator->setThresholds(compiled, thresholds),
        ErrorKind::Argument);
  return result;
}

static void begin(Generator &self,
                  const std::vector<std::vector<int32_t>> &prompts,
                  int64_t count, double temperature, int64_t topK, double topP,
                  uint64_t seed, std::optional<int32_t> stop) {
  runtime::GenerateOptions options;
  options.count = count;
  options.sampler = {temperature, topK, topP, seed};
  options.stopToken = stop;
  check(options.sampler.check(), ErrorKind::Argument);
  check(self.run([&] { return self.generator->begin(prompts, options); }),
        ErrorKind::Argument);
}

/// The new tokens as (sequence, token); none at the end.
static nb::object step(Generator &self) {
  std::vector<std::pair<size_t, int32_t>> tokens;
  auto emit = [&](size_t sequence, int32_t token) {
    tokens.push_back({sequence, token});
    return true;
  };
  if (!take(self.run([&] { return self.generator->step(emit); })))
    return nb::none();
  nb::list list;
  for (auto [sequence, token] : tokens)
    list.append(nb::make_tuple(sequence, token));
  return list;
}

static void start(Generator &self,
                  const std::vector<std::vector<int32_t>> &sequences) {
  llvm::SmallVector<llvm::ArrayRef<int32_t>> views(sequences.begin(),
                                                   sequences.end());
  check(self.run([&] { return self.generator->start(views); }),
        ErrorKind::Argument);
}

static void append(Generator &self, const std::vector<int32_t> &tokens) {
  check(self.run([&]() -> llvm::Error {
    if (int64_t(tokens.size()) != self.generator->getBatch())
      return runtime::makeError("tokens: expected {0}, but got {1}",
                                self.generator->getBatch(), tokens.size());
    return self.generator->append(tokens);
  }),
        ErrorKind::Argument);
}

static std::vector<double> getLogits(const Generator &self, size_t sequence) {
  return self.generator->getLogits(sequence).vec();
}

static nb::dict getCacheUse(const Generator &self) {
  runtime::CacheUse use = self.generator->getCacheUse();
  nb::dict result;
  result["tokens"] = use.tokens;
  result["held_bytes"] = use.heldBytes;
  result["allocated_bytes"] = use.allocatedBytes;
  result["bytes_per_token"] = use.getBytesPerToken();
  return result;
}

void nag::python::bindGeneration(nb::module_ &module) {
  nb::class_<Generator>(module, "Generator",
                        "Continues sequences with a cache.")
      .def_static("create", &create, nb::arg("program"), nb::arg("weights"),
                  nb::arg("thresholds"))
      .def("begin", &begin, nb::arg("prompts"), nb::arg("count"),
           nb::arg("temperature"), nb::arg("top_k"), nb::arg("top_p"),
           nb::arg("seed"), nb::arg("stop").none())
      .def("step", &step)
      .def("start", &start, nb::arg("sequences"))
      .def("append", &append, nb::arg("tokens"))
      .def("logits", &getLogits, nb::arg("sequence"))
      .def("cache_use", &getCacheUse);
}

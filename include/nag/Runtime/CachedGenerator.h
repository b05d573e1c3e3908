// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Continuing prompts with a cache of keys and values: one short step per token.
//
// It calls two functions (Program.h says how arguments are found):
//
//   prefill     reads tokens [B,P], gate_scale, parameters; writes logits
//               [B,P,V], prompt:keys and prompt:values [L,B,P,K] (L layers, K
//               width of keys), and rotary:cos, rotary:sin [S, hd/2].
//   decode      reads tokens [1,B], positions [1,B] i32, gate_scale,
//               parameters, cache:keys and cache:values [L,B,C,K], rotary:cos,
//               rotary:sin; writes logits [1,B,V], new:keys and new:values
//               [L,1,B,K]. Row j of a cache holds the last position that is j
//               modulo C.
//
// Where keys are those of executed tokens alone (kv = routed,
// docs/mathematics.md section 4), layers share the R rows that a sequence has
// (CacheRows.h): prefill writes prompt:keys and prompt:values [L,B*P,K], rows
// of executed tokens whose numbers b*P+t are prompt:tokens [L,B*P] i32, -1
// behind the last, and reach [L] i32, how many positions before its own a token
// sees; decode reads cache:keys and cache:values [B,R,K], cache:rows [L,B,C]
// i32 and cache:counts [L,1,B] i32, and writes new:keys and new:values [L,B,K]
// and new:tokens [L,B].
#ifndef NAG_RUNTIME_CACHEDGENERATOR_H
#define NAG_RUNTIME_CACHEDGENERATOR_H

#include "nag/Runtime/Generator.h"
#include "nag/Runtime/KeyValueCache.h"
#include <optional>

namespace nag::runtime {

/// How sequences are continued.
struct GenerateOptions {
  /// Tokens to add to each sequence at most.
  int64_t count = 0;
  SamplerOptions sampler;
  /// A sequence ends with this token; nothing: never.
  std::optional<int32_t> stopToken;
};

/// Generates with "prefill" and "decode" (Program.h). A program with batch B
/// continues up to B sequences at once, each as it would be continued alone.
/// Sequence b draws with the seed of the options plus b.
///
/// A sequence that fills the cache, the positions or the rows that it has for
/// keys and values, goes on from the last half of its tokens.
class CachedGenerator {
public:
  using Tokens = std::vector<int32_t>;
  /// Called with every new token of a sequence; false ends that sequence.
  using Emit = std::function<bool(size_t sequence, int32_t token)>;

  /// `weights` must outlive it; they must not change where the program keeps
  /// copies of them (-nag-keep-roundings).
  static llvm::Expected<std::unique_ptr<CachedGenerator>>
  create(Program &program, const ParameterBuffers &weights);

  /// As Generator::setUpRouting.
  llvm::Error setUpRouting(Program &program, llvm::StringRef checkpoint);
  /// The same with given thresholds, none for programs without routing.
  llvm::Error setThresholds(Program &program,
                            llvm::ArrayRef<double> thresholds);

  /// Fails on more than B prompts, on empty ones, and on tokens that are not
  /// below the vocabulary, naming prompt and position.
  llvm::Error generate(llvm::ArrayRef<Tokens> prompts,
                       const GenerateOptions &options, const Emit &emit);
  /// The same in steps: begin, then step until it yields false. A step adds one
  /// token to every sequence that has read its prompt and is not done.
  llvm::Error begin(llvm::ArrayRef<Tokens> prompts,
                    const GenerateOptions &options);
  llvm::Expected<bool> step(const Emit &emit);

  // What they are made of, for callers that choose tokens by themselves.

  /// Reads the first tokens of every sequence, as many as "prefill" takes, and
  /// forgets what was before. Sequences left out are idle. Fails on more than B
  /// sequences and on tokens that are not below the vocabulary, as append does.
  llvm::Error start(llvm::ArrayRef<llvm::ArrayRef<int32_t>> sequences);
  /// Tokens of a sequence that were read.
  int64_t getPosition(size_t sequence) const { return positions[sequence]; }
  /// Reads one more token of every sequence; -1: the sequence is idle. Fails
  /// before start, when a sequence would exceed the capacity, or when the
  /// tokens that it has read left more keys and values than there is room for.
  llvm::Error append(llvm::ArrayRef<int32_t> tokens);
  /// The logits behind the last token read of a sequence.
  llvm::ArrayRef<double> getLogits(size_t sequence) const {
    return logits[sequence];
  }

  int64_t getBatch() const { return batch; }
  int64_t getCapacity() const { return capacity; }
  int64_t getVocabulary() const { return vocabulary; }
  /// Keys and values of the tokens that were read.
  CacheUse getCacheUse() const { return cache->measure(positions); }

private:
  struct Sequence {
    Tokens history;
    Sampler sampler;
    int64_t drawn = 0;
    bool isDone = false;
  };
  explicit CachedGenerator(Program &program)
      : prefillBuffers(program), decodeBuffers(program, prefillBuffers) {}

  llvm::Error setUp(Program &program, const ParameterBuffers &weights);
  llvm::Error readShapes(const Program &program);
  llvm::Error readLogits(const NamedBuffers &buffers, size_t sequence,
                         int64_t row);
  llvm::Error checkPrompts(llvm::ArrayRef<Tokens> prompts) const;
  llvm::Error checkToken(size_t sequence, int32_t token) const;
  llvm::Error restart();
  bool shortenFullSequences();
  llvm::Error feed();
  /// Tokens of a sequence that wait to be read.
  int64_t countUnread(size_t b) const {
    return int64_t(sequences[b].history.size()) - positions[b];
  }

  NamedBuffers prefillBuffers, decodeBuffers;
  BoundFunction prefillCall, decodeCall;
  std::unique_ptr<KeyValueCache> cache;
  int64_t batch = 0, prompt = 0, capacity = 0;
  int64_t vocabulary = 0;
  bool hasTable = false;
  /// Whether the buffers hold a table of positions and a cache.
  bool isStarted = false;
  std::vector<int64_t> positions;
  std::vector<std::vector<double>> logits;
  std::vector<char> staging;
  GenerateOptions chosen;
  std::vector<Sequence> sequences;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_CACHEDGENERATOR_H

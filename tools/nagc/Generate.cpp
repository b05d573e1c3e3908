// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc generate: continues a prompt.
#include "Session.h"

#include "nag/Driver/Generation.h"
#include "nag/Runtime/CachedGenerator.h"
#include "nag/Runtime/Checkpoint.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand generateCommand("generate", "Continue a prompt");

static tool::SessionOptions session(generateCommand);
static cl::opt<std::string>
    checkpoint("checkpoint", cl::sub(generateCommand), cl::Required,
               cl::value_desc("path"),
               cl::desc("A checkpoint, or a folder with the newest of them"));
static cl::list<std::string>
    prompts("prompt", cl::sub(generateCommand), cl::Required,
            cl::value_desc("text"),
            cl::desc("What to continue: text for a vocabulary of bytes, else "
                     "token numbers between commas. Several are continued at "
                     "once, each on lines of its own"));
static cl::opt<int64_t> tokenCount("tokens", cl::sub(generateCommand),
                                   cl::init(200), cl::value_desc("N"),
                                   cl::desc("Tokens to add (default: 200)"));
static tool::NumberOption
    temperature("temperature", cl::sub(generateCommand), cl::init(1.0),
                cl::value_desc("x"),
                cl::desc("Divides the logits; 0: always the likeliest token "
                         "(default: 1)"));
static cl::opt<int64_t> topK("top-k", cl::sub(generateCommand), cl::init(0),
                             cl::value_desc("K"),
                             cl::desc("Draw from the K likeliest tokens; 0: "
                                      "from all (default)"));
static tool::NumberOption
    topP("top-p", cl::sub(generateCommand), cl::init(1.0), cl::value_desc("P"),
         cl::desc("Draw from the likeliest tokens whose probabilities add up "
                  "to P; 1: from all (default)"));
static cl::opt<uint64_t> seed("seed", cl::sub(generateCommand), cl::init(0),
                              cl::value_desc("S"),
                              cl::desc("Key of the draws (default: 0); prompt "
                                       "n draws with S + n"));
static cl::opt<std::string>
    stop("stop", cl::sub(generateCommand), cl::value_desc("token"),
         cl::desc("End a sequence with this token: a byte (\\n for the end of "
                  "a line) or, where tokens are no bytes, a number"));
static cl::opt<bool>
    recompute("recompute", cl::sub(generateCommand),
              cl::desc("Compute the whole prefix for every token instead of "
                       "keeping keys and values"));

static tool::NumberOption kvBudget(
    "kv-budget", cl::sub(generateCommand), cl::init(0), cl::value_desc("x"),
    cl::desc("Room for keys and values of a model with mod_kv=routed, as a "
             "share in (0, 1] of what those of all tokens would take (default: "
             "what the model's mod_rate leaves). A sequence that fills it goes "
             "on from the last half of its tokens"));
static cl::opt<bool>
    statistics("stats", cl::sub(generateCommand),
               cl::desc("Print on standard error what the cache of keys and "
                        "values holds at the end"));

static constexpr int64_t kByteVocabulary = 256;

using Tokens = std::vector<int32_t>;

static Expected<Tokens> readTokens(StringRef option, StringRef text,
                                   bool isBytes) {
  Tokens tokens;
  if (isBytes) {
    for (unsigned char byte : text)
      tokens.push_back(byte);
    return tokens;
  }
  SmallVector<StringRef> numbers;
  text.split(numbers, ',');
  for (StringRef number : numbers)
    if (number.trim().getAsInteger(10, tokens.emplace_back()))
      return make_error<tool::UsageError>(
          option +
          ": expected token numbers between commas for a vocabulary "
          "that is not bytes, but got '" +
          number + "'");
  return tokens;
}

static Expected<std::vector<Tokens>> readPrompts(bool isBytes) {
  std::vector<Tokens> all;
  for (const std::string &prompt : prompts) {
    Expected<Tokens> tokens = readTokens("--prompt", prompt, isBytes);
    if (!tokens)
      return tokens.takeError();
    all.push_back(std::move(*tokens));
  }
  return all;
}

static Expected<runtime::GenerateOptions> readOptions(bool isBytes) {
  runtime::GenerateOptions options;
  options.count = tokenCount;
  options.sampler.temperature = temperature;
  options.sampler.topK = topK;
  options.sampler.topP = topP;
  options.sampler.seed = seed;
  if (tokenCount < 0)
    return make_error<tool::UsageError>(
        "--tokens: expected 0 or more, but got '" + Twine(tokenCount) + "'");
  if (recompute && (kvBudget.getNumOccurrences() || statistics))
    return make_error<tool::UsageError>(
        "--recompute: expected neither --kv-budget nor --stats with it, which "
        "are about the cache");
  if (kvBudget.getNumOccurrences() && !(kvBudget > 0 && kvBudget <= 1))
    return make_error<tool::UsageError>(
        "--kv-budget: expected a share in (0, 1], but got " +
        formatv("{0}", kvBudget.getValue()).str());
  if (Error error = options.sampler.check())
    return make_error<tool::UsageError>(toString(std::move(error)));
  if (stop.empty())
    return options;
  Expected<Tokens> token =
      readTokens("--stop", stop == "\\n" ? "\n" : stop.c_str(), isBytes);
  if (!token)
    return token.takeError();
  if (token->size() != 1)
    return make_error<tool::UsageError>(
        "--stop: expected one token, but got '" + Twine(stop) + "'");
  options.stopToken = token->front();
  return options;
}

namespace {
/// Prints sequences as they grow, the prompt with its first token; several,
/// each when all are done.
class Printer {
public:
  Printer(ArrayRef<std::string> given, bool bytes)
      : texts(given.begin(), given.end()), isBytes(bytes) {}

  bool append(size_t sequence, int32_t token) {
    texts[sequence] += isBytes ? std::string(1, static_cast<char>(token))
                               : "," + std::to_string(token);
    if (isStreaming()) {
      flush();
      outs().flush();
    }
    return true;
  }

  void finish() {
    if (!isStreaming())
      for (const std::string &text : texts)
        outs() << text << '\n';
    else {
      flush();
      outs() << '\n';
    }
  }

private:
  bool isStreaming() const { return texts.size() == 1; }
  void flush() {
    outs() << StringRef(texts.front()).drop_front(numPrinted);
    numPrinted = texts.front().size();
  }

  std::vector<std::string> texts;
  size_t numPrinted = 0;
  bool isBytes;
};
} // namespace

template <typename Generator>
static Expected<std::unique_ptr<Generator>>
createGenerator(runtime::Program &program,
                const runtime::ParameterBuffers &weights, StringRef file) {
  auto generator = Generator::create(program, weights);
  if (!generator)
    return generator.takeError();
  if (Error error = (*generator)->setUpRouting(program, file))
    return error;
  return generator;
}

static Error generateCached(runtime::Program &program,
                            const runtime::ParameterBuffers &weights,
                            StringRef file, ArrayRef<Tokens> tokens,
                            const runtime::GenerateOptions &options,
                            Printer &printer) {
  auto generator =
      createGenerator<runtime::CachedGenerator>(program, weights, file);
  if (!generator)
    return generator.takeError();
  auto emit = [&](size_t sequence, int32_t token) {
    return printer.append(sequence, token);
  };
  if (Error error = (*generator)->generate(tokens, options, emit))
    return error;
  if (statistics) {
    runtime::CacheUse use = (*generator)->getCacheUse();
    errs() << formatv("cache: {0} of {1} bytes hold keys and values of {2} "
                      "tokens, {3:f1} per token\n",
                      use.heldBytes, use.allocatedBytes, use.tokens,
                      use.getBytesPerToken());
  }
  return Error::success();
}

static Error generateRecomputing(runtime::Program &program,
                                 const runtime::ParameterBuffers &weights,
                                 StringRef file, ArrayRef<Tokens> tokens,
                                 const runtime::GenerateOptions &options,
                                 Printer &printer) {
  auto generator = createGenerator<runtime::Generator>(program, weights, file);
  if (!generator)
    return generator.takeError();
  for (size_t i = 0; i != tokens.size(); ++i) {
    runtime::SamplerOptions sampler = options.sampler;
    sampler.seed += i;
    auto emit = [&](int32_t token) {
      return printer.append(i, token) && token != options.stopToken;
    };
    if (Error error =
            (*generator)->generate(tokens[i], options.count, sampler, emit))
      return error;
  }
  return Error::success();
}

/// Keys and values for as many positions as the model was made for.
static driver::GenerationOptions getSizes(driver::Model &model,
                                          ArrayRef<Tokens> tokens) {
  driver::GenerationOptions sizes;
  sizes.batch = tokens.size();
  size_t longest = 1;
  for (const Tokens &prompt : tokens)
    longest = std::max(longest, prompt.size());
  sizes.capacity = driver::getSequenceLength(model).value_or(1);
  sizes.prompt = std::min<int64_t>(longest, sizes.capacity);
  sizes.budget = kvBudget;
  return sizes;
}

static Expected<int> run() {
  auto model = session.open(tool::Purpose::Generate);
  if (!model)
    return model.takeError();
  bool isBytes =
      (*model)->getVocabulary().value_or(kByteVocabulary) <= kByteVocabulary;
  auto options = readOptions(isBytes);
  if (!options)
    return options.takeError();
  auto tokens = readPrompts(isBytes);
  if (!tokens)
    return tokens.takeError();
  Expected<std::string> file = runtime::resolveCheckpoint(checkpoint);
  if (!file)
    return file.takeError();
  if (!recompute) {
    driver::Model &graph = (*model)->getModel();
    if (Error error = driver::addGeneration(graph, getSizes(graph, *tokens)))
      return error;
    (*model)->setFunctions({"prefill", "decode"});
  }
  auto program = (*model)->compile();
  if (!program)
    return program.takeError();
  auto weights = runtime::loadWeights(**program, *file);
  if (!weights)
    return weights.takeError();
  Printer printer(prompts, isBytes);
  auto generate = recompute ? generateRecomputing : generateCached;
  if (Error error =
          generate(**program, *weights, *file, *tokens, *options, printer))
    return error;
  printer.finish();
  return tool::kDone;
}

tool::Command nag::tool::getGenerateCommand() { return {generateCommand, run}; }

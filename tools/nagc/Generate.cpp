// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc generate: continues a prompt.
#include "Session.h"

#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Generator.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand generateCommand("generate", "Continue a prompt");

static tool::SessionOptions session(generateCommand);
static cl::opt<std::string>
    checkpoint("checkpoint", cl::sub(generateCommand), cl::Required,
               cl::value_desc("path"),
               cl::desc("A checkpoint, or a folder with the newest of them"));
static cl::opt<std::string>
    prompt("prompt", cl::sub(generateCommand), cl::Required,
           cl::value_desc("text"),
           cl::desc("What to continue: text for a vocabulary of bytes, else "
                    "token numbers between commas"));
static cl::opt<int64_t> tokenCount("tokens", cl::sub(generateCommand),
                                   cl::init(200), cl::value_desc("N"),
                                   cl::desc("Tokens to add (default: 200)"));
static cl::opt<double>
    temperature("temperature", cl::sub(generateCommand), cl::init(1.0),
                cl::value_desc("x"),
                cl::desc("Divides the logits; 0: always the likeliest token "
                         "(default: 1)"));
static cl::opt<int64_t> topK("top-k", cl::sub(generateCommand), cl::init(0),
                             cl::value_desc("K"),
                             cl::desc("Draw from the K likeliest tokens; 0: "
                                      "from all (default)"));
static cl::opt<uint64_t> seed("seed", cl::sub(generateCommand), cl::init(0),
                              cl::value_desc("S"),
                              cl::desc("Key of the draws (default: 0)"));

static constexpr int64_t kByteVocabulary = 256;

static Expected<std::vector<int32_t>> readPrompt(bool isBytes) {
  std::vector<int32_t> tokens;
  if (isBytes) {
    for (unsigned char byte : prompt)
      tokens.push_back(byte);
    return tokens;
  }
  SmallVector<StringRef> numbers;
  StringRef(prompt).split(numbers, ',');
  for (StringRef number : numbers)
    if (number.trim().getAsInteger(10, tokens.emplace_back()))
      return make_error<tool::UsageError>(
          "--prompt: expected token numbers between commas for a vocabulary "
          "that is not bytes, but got '" +
          number + "'");
  return tokens;
}

static Expected<int> run() {
  if (tokenCount < 0)
    return make_error<tool::UsageError>(
        "--tokens: expected 0 or more, but got '" + Twine(tokenCount) + "'");
  runtime::SamplerOptions sampler;
  sampler.temperature = temperature;
  sampler.topK = topK;
  sampler.seed = seed;
  if (Error error = sampler.check())
    return make_error<tool::UsageError>(toString(std::move(error)));
  auto model = session.open(tool::Purpose::Generate);
  if (!model)
    return model.takeError();
  Expected<std::string> file = runtime::resolveCheckpoint(checkpoint);
  if (!file)
    return file.takeError();
  auto program = (*model)->compile();
  if (!program)
    return program.takeError();
  auto weights = runtime::loadWeights(**program, *file);
  if (!weights)
    return weights.takeError();
  auto generator = runtime::Generator::create(**program, *weights);
  if (!generator)
    return generator.takeError();
  bool isBytes = (*generator)->getVocabulary() <= kByteVocabulary;
  Expected<std::vector<int32_t>> tokens = readPrompt(isBytes);
  if (!tokens)
    return tokens.takeError();
  outs() << prompt;
  auto emit = [&](int32_t token) {
    if (isBytes)
      outs() << static_cast<char>(token);
    else
      outs() << ',' << token;
    outs().flush();
    return true;
  };
  if (Error error = (*generator)->generate(*tokens, tokenCount, sampler, emit))
    return error;
  outs() << '\n';
  return tool::kDone;
}

tool::Command nag::tool::getGenerateCommand() { return {generateCommand, run}; }

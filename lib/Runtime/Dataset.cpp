// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Dataset.h"
#include "nag/Runtime/Errors.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"
#include <algorithm>
#include <limits>
#include <optional>

using namespace nag::runtime;
namespace fs = llvm::sys::fs;
namespace path = llvm::sys::path;

//===- Which files --------------------------------------------------------===//

static constexpr llvm::StringLiteral tokenSuffix = ".bin";

static bool isTokenFile(llvm::StringRef name) {
  return name.ends_with(tokenSuffix);
}

static bool isFortuneIndex(llvm::StringRef name) {
  return name.consume_back(".dat") && fs::exists(name);
}

/// Git's rule: a zero byte near the beginning.
static bool isBinary(const MappedFile &file) {
  constexpr size_t inspected = 8192;
  return llvm::is_contained(file.bytes().take_front(inspected), 0);
}

static llvm::Error appendFolder(llvm::StringRef folder,
                                std::vector<std::string> &files) {
  std::vector<std::string> found;
  std::error_code code;
  fs::recursive_directory_iterator it(folder, code, /*follow_symlinks=*/false);
  for (; !code && it != fs::recursive_directory_iterator();
       it.increment(code)) {
    if (path::filename(it->path()).starts_with(".")) {
      it.no_push();
      continue;
    }
    llvm::ErrorOr<fs::basic_file_status> status = it->status();
    if (!status)
      return makeSystemError(it->path(), "cannot open",
                             status.getError().value());
    if (status->type() != fs::file_type::regular_file ||
        isFortuneIndex(it->path()))
      continue;
    llvm::Expected<MappedFile> file = MappedFile::open(it->path());
    if (!file)
      return file.takeError();
    if (!file->bytes().empty() && (isTokenFile(it->path()) || !isBinary(*file)))
      found.push_back(it->path());
  }
  if (code)
    return makeSystemError(folder, "cannot list", code.value());
  if (found.empty())
    return makeError("{0}: expected a folder with text or .bin files, but "
                     "found none",
                     folder);
  llvm::sort(found);
  files.insert(files.end(), found.begin(), found.end());
  return llvm::Error::success();
}

llvm::Expected<std::vector<std::string>>
nag::runtime::findDataFiles(llvm::ArrayRef<std::string> paths) {
  std::vector<std::string> files;
  for (const std::string &name : paths) {
    fs::file_status status;
    if (std::error_code code = fs::status(name, status))
      return makeSystemError(name, "cannot open", code.value());
    if (!fs::is_directory(status)) {
      files.push_back(name);
      continue;
    }
    if (llvm::Error failure = appendFolder(name, files))
      return failure;
  }
  if (files.empty())
    return makeError("expected at least one data file");
  return files;
}

//===- Tokens -------------------------------------------------------------===//

static uint32_t readToken(const uint8_t *data, int width, int64_t index) {
  const uint8_t *from = data + index * width;
  if (width == 1)
    return *from;
  return width == 2 ? llvm::support::endian::read16le(from)
                    : llvm::support::endian::read32le(from);
}

void TokenStream::append(const uint8_t *data, int64_t count) {
  if (count > 0)
    pieces.push_back({data, size() + count, count});
}

void TokenStream::copy(int64_t begin, int64_t count, int32_t *tokens) const {
  auto piece = llvm::upper_bound(
      pieces, begin, [](int64_t at, const Piece &p) { return at < p.end; });
  while (count > 0) {
    int64_t skip = begin - (piece->end - piece->count);
    int64_t here = std::min(count, piece->count - skip);
    for (int64_t i = 0; i < here; ++i)
      tokens[i] = int32_t(readToken(piece->data, width, skip + i));
    tokens += here;
    begin += here;
    count -= here;
    ++piece;
  }
}

/// The first token that is not below `vocabulary`.
static std::optional<int64_t> findForeignToken(llvm::ArrayRef<uint8_t> bytes,
                                               int width, int64_t vocabulary) {
  if (width < 4 && vocabulary >= int64_t(1) << (8 * width))
    return std::nullopt;
  int64_t count = bytes.size() / width;
  for (int64_t i = 0; i < count; ++i)
    if (readToken(bytes.data(), width, i) >= uint64_t(vocabulary))
      return i;
  return std::nullopt;
}

static llvm::Error checkTokens(llvm::StringRef name,
                               llvm::ArrayRef<uint8_t> bytes, int width,
                               int64_t vocabulary) {
  if (bytes.empty())
    return makeError("{0}: expected data, but the file is empty", name);
  if (bytes.size() % width != 0)
    return makeError("{0}: expected a multiple of {1} bytes ({2}-bit tokens), "
                     "but got {3}",
                     name, width, 8 * width, bytes.size());
  std::optional<int64_t> foreign = findForeignToken(bytes, width, vocabulary);
  if (!foreign)
    return llvm::Error::success();
  return makeError("{0}: byte offset {1}: expected a token below the "
                   "vocabulary of {2}, but got {3}",
                   name, *foreign * width, vocabulary,
                   readToken(bytes.data(), width, *foreign));
}

static uint64_t hashFile(llvm::ArrayRef<uint8_t> bytes, uint64_t hash) {
  constexpr size_t sampled = 4096;
  uint64_t parts[] = {
      hash, bytes.size(), llvm::xxh3_64bits(bytes.take_front(sampled)),
      llvm::xxh3_64bits(bytes.take_back(std::min(sampled, bytes.size())))};
  return llvm::xxh3_64bits(
      llvm::ArrayRef(reinterpret_cast<const uint8_t *>(parts), sizeof parts));
}

llvm::Error Dataset::add(const std::string &name,
                         const DatasetOptions &options) {
  int width = trainingStream.width;
  llvm::Expected<MappedFile> file = MappedFile::open(name);
  if (!file)
    return file.takeError();
  llvm::ArrayRef<uint8_t> bytes = file->bytes();
  if (llvm::Error failure = checkTokens(name, bytes, width, options.vocabulary))
    return failure;
  int64_t count = bytes.size() / width;
  int64_t kept = int64_t(double(count) * options.validationFraction);
  trainingStream.append(bytes.data(), count - kept);
  validationStream.append(bytes.data() + (count - kept) * width, kept);
  hash = hashFile(bytes, hash + uint64_t(kept));
  files.push_back(std::move(*file));
  return llvm::Error::success();
}

static llvm::Error checkOptions(const DatasetOptions &options) {
  constexpr int64_t largest = std::numeric_limits<int32_t>::max();
  if (options.vocabulary < 1 || options.vocabulary > largest)
    return makeError("vocabulary: expected 1 to {0} tokens, but got {1}",
                     largest, options.vocabulary);
  if (!(options.validationFraction >= 0 && options.validationFraction <= 1))
    return makeError("validation fraction: expected 0 to 1, but got {0}",
                     formatNumber(options.validationFraction));
  if (!(options.bytesPerToken >= 0))
    return makeError("bytes per token: expected at least 0, but got {0}",
                     formatNumber(options.bytesPerToken));
  return llvm::Error::success();
}

llvm::Expected<Dataset> Dataset::open(const DatasetOptions &options) {
  if (llvm::Error failure = checkOptions(options))
    return failure;
  llvm::Expected<std::vector<std::string>> names = findDataFiles(options.paths);
  if (!names)
    return names.takeError();
  bool tokens = isTokenFile(names->front());
  Dataset dataset;
  int width = !tokens ? 1 : options.vocabulary <= 65536 ? 2 : 4;
  dataset.trainingStream.width = dataset.validationStream.width = width;
  dataset.bytesOfToken = tokens ? options.bytesPerToken : 1;
  for (const std::string &name : *names) {
    if (isTokenFile(name) != tokens)
      return makeError("{0}: expected a {1} file like {2}", name,
                       tokens ? ".bin" : "text", names->front());
    if (llvm::Error failure = dataset.add(name, options))
      return failure;
  }
  return dataset;
}

//===- Training batches ---------------------------------------------------===//

llvm::Expected<TrainingBatches>
TrainingBatches::create(const TokenStream &stream, int64_t batch, int64_t seq,
                        uint64_t seed) {
  if (stream.size() < batch * seq + 1)
    return makeError("training data: expected at least {0} tokens (one batch "
                     "of {1} x {2}), but got {3}",
                     batch * seq + 1, batch, seq, stream.size());
  TrainingBatches result;
  result.stream = &stream;
  result.batch = batch;
  result.seq = seq;
  // One window less than fit leaves room for the epoch's offset.
  result.windows = std::max<int64_t>((stream.size() - 1) / seq - 1, 1);
  result.seed = seed;
  return result;
}

/// Element `index` of a random permutation of [0, count): a Feistel network
/// over the next power of four, walked until it falls into range.
static uint64_t permute(uint64_t index, uint64_t count,
                        const RandomStream &random) {
  int halfBits = 1;
  while (halfBits < 31 && (uint64_t(1) << (2 * halfBits)) < count)
    ++halfBits;
  uint64_t mask = (uint64_t(1) << halfBits) - 1;
  do {
    uint64_t left = index >> halfBits, right = index & mask;
    for (uint64_t round = 0; round < 6; ++round) {
      uint64_t mixed = random.block(round << 32 | right)[0] & mask;
      left = std::exchange(right, left ^ mixed);
    }
    index = left << halfBits | right;
  } while (index >= count);
  return index;
}

int64_t TrainingBatches::getWindowBegin(int64_t n) const {
  std::string epoch = std::to_string(n / windows);
  int64_t slack = stream->size() - 1 - windows * seq;
  RandomStream offsets(seed, "offset", epoch), order(seed, "order", epoch);
  int64_t offset = int64_t(offsets.below(0, slack + 1));
  return offset + int64_t(permute(n % windows, windows, order)) * seq;
}

void TrainingBatches::fill(int64_t position, int32_t *tokens,
                           int32_t *targets) const {
  for (int64_t row = 0; row < batch; ++row) {
    int64_t begin = getWindowBegin(position + row);
    stream->copy(begin, seq, tokens + row * seq);
    stream->copy(begin + 1, seq, targets + row * seq);
  }
}

//===- Validation batches -------------------------------------------------===//

llvm::Expected<ValidationBatches>
ValidationBatches::create(const TokenStream &stream, int64_t batch,
                          int64_t seq) {
  if (stream.size() < 2)
    return makeError("validation data: expected at least 2 tokens, but got {0}",
                     stream.size());
  ValidationBatches result;
  result.stream = &stream;
  result.batch = batch;
  result.seq = seq;
  result.batches = (stream.size() - 1 + batch * seq - 1) / (batch * seq);
  return result;
}

int64_t ValidationBatches::fill(int64_t index, int32_t *tokens,
                                int32_t *targets) const {
  int64_t places = batch * seq;
  int64_t begin = index * places;
  int64_t counted = std::min(places, stream->size() - 1 - begin);
  stream->copy(begin, counted, tokens);
  stream->copy(begin + 1, counted, targets);
  std::fill(tokens + counted, tokens + places, 0);
  std::fill(targets + counted, targets + places, -1);
  return counted;
}

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Token streams from files, split for training and validation, in batches.
//
// What is read. A file whose name ends in ".bin" holds tokens, unsigned
// little-endian integers without a header: 16 bits each when the vocabulary has
// at most 65536 tokens, else 32. Every other file is text, one token per byte.
// One dataset is all text or all token files. A folder stands for the files
// below it, sorted by path, except links, names that begin with a dot, ".dat"
// files beside a file of the same name without ".dat" (indexes of fortune
// files), empty files, and files other than ".bin" with a zero byte in their
// first 8192 bytes (binary). A file that is named itself is always read.
//
// Split. The last floor(n * validationFraction) tokens of every file of n
// tokens are for validation, the rest for training. Either part is the
// concatenation of its pieces in file order; windows may cross from one file
// into the next.
#ifndef NAG_RUNTIME_DATASET_H
#define NAG_RUNTIME_DATASET_H

#include "nag/Runtime/Files.h"
#include "nag/Runtime/Random.h"
#include <string>
#include <vector>

namespace nag::runtime {

struct DatasetOptions {
  /// Files and folders.
  std::vector<std::string> paths;
  /// Tokens must be below this; it also sets the width of ".bin" files.
  int64_t vocabulary = 256;
  /// Share of every file that is kept for validation, from 0 to 1.
  double validationFraction = 0.05;
  /// Bytes of text per token of ".bin" files, for bits per byte; 0: unknown.
  double bytesPerToken = 0;
};

/// A concatenation of pieces of mapped files.
class TokenStream {
public:
  int64_t size() const { return pieces.empty() ? 0 : pieces.back().end; }
  /// Copies tokens [begin, begin + count), which must lie in the stream.
  void copy(int64_t begin, int64_t count, int32_t *tokens) const;

private:
  friend class Dataset;
  struct Piece {
    const uint8_t *data;
    /// Position in the stream of the token after the last.
    int64_t end;
    int64_t count;
  };
  void append(const uint8_t *data, int64_t count);

  int width = 1;
  std::vector<Piece> pieces;
};

/// The files of a run. Streams point into the files' mappings.
class Dataset {
public:
  /// Opens and checks everything: fails on missing, unreadable or empty files,
  /// on folders without a file to read, and on tokens outside the vocabulary
  /// (naming the file and the byte offset).
  static llvm::Expected<Dataset> open(const DatasetOptions &options);

  const TokenStream &training() const { return trainingStream; }
  const TokenStream &validation() const { return validationStream; }
  /// Bytes of text that one token stands for; 0 when unknown.
  double bytesPerToken() const { return bytesOfToken; }
  /// Tells datasets apart: a hash of every file's size and of its first and
  /// last 4096 bytes, and of the split.
  uint64_t fingerprint() const { return hash; }
  size_t fileCount() const { return files.size(); }

private:
  llvm::Error add(const std::string &path, const DatasetOptions &options);

  std::vector<MappedFile> files;
  TokenStream trainingStream, validationStream;
  double bytesOfToken = 1;
  uint64_t hash = 0;
};

/// The files that paths stand for, in the order of reading.
llvm::Expected<std::vector<std::string>>
findDataFiles(llvm::ArrayRef<std::string> paths);

/// Training batches: windows of seq + 1 tokens in an order that is a function
/// of the seed. Epoch e cuts the stream into windows that follow each other at
/// a distance of seq, from an offset drawn for e, and visits each once in an
/// order drawn for e. Sample n belongs to epoch n / windows; a run's position
/// is the number of samples drawn.
class TrainingBatches {
public:
  /// Fails when the stream holds fewer tokens than one batch needs.
  static llvm::Expected<TrainingBatches>
  create(const TokenStream &stream, int64_t batch, int64_t seq, uint64_t seed);

  /// Fills tokens and targets [batch, seq] with samples position, ...,
  /// position + batch - 1; targets are the tokens one place later.
  void fill(int64_t position, int32_t *tokens, int32_t *targets) const;
  int64_t windowsPerEpoch() const { return windows; }
  /// First token of sample `n`.
  int64_t getWindowBegin(int64_t n) const;

private:
  const TokenStream *stream = nullptr;
  int64_t batch = 0, seq = 0, windows = 0;
  uint64_t seed = 0;
};

/// Validation batches: every token but the first is a target once. Windows
/// follow each other; places after the stream's end have target -1.
class ValidationBatches {
public:
  /// Fails when the stream has no token to predict.
  static llvm::Expected<ValidationBatches> create(const TokenStream &stream,
                                                  int64_t batch, int64_t seq);

  int64_t count() const { return batches; }
  /// Fills batch `index` and returns how many targets count.
  int64_t fill(int64_t index, int32_t *tokens, int32_t *targets) const;

private:
  const TokenStream *stream = nullptr;
  int64_t batch = 0, seq = 0, batches = 0;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_DATASET_H

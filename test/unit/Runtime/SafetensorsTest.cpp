// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Safetensors.h"
#include "TestUtilities.h"
#include "llvm/Support/Endian.h"
#include <csignal>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace nag::runtime;

namespace {

class SafetensorsTest : public ScratchTest {
protected:
  /// A file with this header and data.
  std::string write(llvm::StringRef header, llvm::StringRef data = "") {
    char length[8];
    llvm::support::endian::write64le(length, header.size());
    return writeFile("x.safetensors",
                     (llvm::StringRef(length, 8) + header + data).str());
  }

  /// The error of opening that, without the path in front.
  std::string fail(llvm::StringRef header, llvm::StringRef data = "") {
    std::string path = write(header, data);
    std::string text = getText(SafetensorsFile::open(path));
    EXPECT_EQ(text.find(path + ": "), 0u) << text;
    return text.substr(std::min(text.size(), path.size() + 2));
  }
};

std::vector<SafetensorsSource> makeSources() {
  static const float matrix[6] = {1, 2, 3, 4, 5, 6};
  static const double scalar = 7;
  return {{"matrix",
           DType::F32,
           {2, 3},
           []() -> llvm::Expected<const void *> { return matrix; }},
          {"scalar",
           DType::F64,
           {},
           []() -> llvm::Expected<const void *> { return &scalar; }},
          {"empty", DType::BF16, {0, 4}, []() -> llvm::Expected<const void *> {
             return nullptr;
           }}};
}

TEST_F(SafetensorsTest, ReadsWhatItWrote) {
  std::string path = getPath("a.safetensors");
  ASSERT_EQ(getText(writeSafetensors(path, makeSources(),
                                     {{"key", "a \"quoted\" value"}})),
            "");
  SafetensorsFile file = take(SafetensorsFile::open(path));
  EXPECT_EQ(file.entries().size(), 3u);
  EXPECT_EQ(*file.metadata("key"), "a \"quoted\" value");
  EXPECT_EQ(file.metadata("other"), nullptr);
  const SafetensorsEntry *matrix = file.lookup("matrix");
  ASSERT_TRUE(matrix);
  EXPECT_EQ(matrix->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(reinterpret_cast<const float *>(matrix->data.data())[5], 6);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(matrix->data.data()) % 64, 0u);
  const SafetensorsEntry *scalar = file.lookup("scalar");
  ASSERT_TRUE(scalar && scalar->shape.empty());
  EXPECT_EQ(*reinterpret_cast<const double *>(scalar->data.data()), 7);
  EXPECT_EQ(file.lookup("empty")->dtype, DType::BF16);
  EXPECT_EQ(file.lookup("nothing"), nullptr);
}

TEST_F(SafetensorsTest, AcceptsTheFormatsOwnExamples) {
  std::string path =
      write(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]},)"
            R"("b":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}   )",
            "abcd");
  SafetensorsFile file = take(SafetensorsFile::open(path));
  EXPECT_EQ(file.lookup("a")->data[0], 'c');
  EXPECT_EQ(take(SafetensorsFile::open(write("{}"))).entries().size(), 0u);
}

TEST_F(SafetensorsTest, RefusesBadFiles) {
  EXPECT_EQ(getText(SafetensorsFile::open(getPath("none"))),
            getPath("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(getText(SafetensorsFile::open(scratch)),
            scratch + ": expected a regular file");
  std::string path = writeFile("x", "short");
  EXPECT_EQ(getText(SafetensorsFile::open(path)),
            path + ": expected a safetensors file of at least 8 bytes, but got "
                   "5 bytes");
  path = writeFile("x", "PK\3\4 this is a torch file, say");
  EXPECT_NE(getText(SafetensorsFile::open(path)).find("length field of"),
            std::string::npos);
  path = writeFile("x", std::string("\x20\0\0\0\0\0\0\0{}", 10));
  EXPECT_EQ(getText(SafetensorsFile::open(path)),
            path + ": truncated: expected a header of 32 bytes, but got 2");
}

TEST_F(SafetensorsTest, RefusesBadHeaders) {
  for (const std::string &text :
       {std::string("nonsense"), std::string("[]"), std::string(100000, '['),
        "{\"a\":" + std::string(100000, '{')})
    EXPECT_EQ(fail(text),
              "expected the safetensors header to be a JSON object");
  EXPECT_EQ(fail(R"({"a":3})"), "tensor 'a': expected an object");
  EXPECT_EQ(fail(R"({"__metadata__":{"a":3}})"),
            "__metadata__: field 'a': expected a string");
  EXPECT_EQ(fail(R"({"a":{"dtype":"F31","shape":[],"data_offsets":[0,0]}})"),
            "tensor 'a': field 'dtype': expected a known type, but got 'F31'");
  EXPECT_EQ(fail(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}})"),
            "tensor 'a': field 'shape': expected sizes of at least 0");
  EXPECT_EQ(fail(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296,2],)"
                 R"("data_offsets":[0,0]}})"),
            "tensor 'a': field 'shape': expected sizes of at least 0");
  EXPECT_EQ(fail(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})"),
            "tensor 'a': field 'data_offsets': expected [begin, end]");
}

TEST_F(SafetensorsTest, RefusesBadData) {
  EXPECT_EQ(
      fail(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", "ab"),
      "truncated: tensor 'a' ends at byte 3 of the data, but the file "
      "holds 2");
  EXPECT_EQ(
      fail(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,3]}})", "abc"),
      "tensor 'a': expected 12 bytes for 3xf32, but got 3");
  EXPECT_EQ(
      fail(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "abc"),
      "expected 2 bytes of tensor data, but got 3");
  EXPECT_EQ(fail(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                 R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                 "abc"),
            "expected tensor data without gap or overlap at byte 1 of the "
            "data");
}

TEST_F(SafetensorsTest, FailedWritesLeaveTheEarlierFile) {
  std::string path = writeFile("a.safetensors", "earlier");
  struct rlimit old, small;
  getrlimit(RLIMIT_FSIZE, &old);
  small = old;
  small.rlim_cur = 100;
  auto oldHandler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  std::string failure = getText(writeSafetensors(path, makeSources(), {}));
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, oldHandler);
  EXPECT_EQ(failure, path + ": cannot write: File too large");
  EXPECT_EQ(readFile(path), "earlier");
  std::vector<SafetensorsSource> sources = makeSources();
  sources[1].read = []() -> llvm::Expected<const void *> {
    return llvm::createStringError("device lost");
  };
  EXPECT_EQ(getText(writeSafetensors(path, sources, {})), "device lost");
  EXPECT_EQ(readFile(path), "earlier");
  EXPECT_EQ(listFolder("."), std::vector<std::string>{"a.safetensors"});
}

TEST_F(SafetensorsTest, UnwritableFolder) {
  EXPECT_EQ(getText(writeSafetensors(getPath("no/a"), makeSources(), {})),
            getPath("no/a") + ": cannot create: No such file or directory");
}

TEST_F(SafetensorsTest, PipesAndFoldersStayWhatTheyAre) {
  std::string pipe = getPath("pipe"), folder = getPath("folder");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  EXPECT_EQ(getText(writeSafetensors(pipe, makeSources(), {})), "");
  char length[8];
  EXPECT_EQ(::read(reader, length, sizeof length), 8);
  ::close(reader);
  struct stat status;
  ASSERT_EQ(::stat(pipe.c_str(), &status), 0);
  EXPECT_TRUE(S_ISFIFO(status.st_mode));

  ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
  EXPECT_EQ(getText(writeSafetensors(folder, makeSources(), {})),
            folder + ": cannot write: Is a directory");
  EXPECT_EQ(listFolder("."), (std::vector<std::string>{"folder", "pipe"}));
}

TEST_F(SafetensorsTest, KillBetweenWriteAndRename) {
  std::string path = getPath("a.safetensors");
  ASSERT_EQ(getText(writeSafetensors(path, makeSources(), {})), "");
  std::string before = readFile(path);
  auto writeAndDie = [&] {
    AtomicFile file = take(AtomicFile::create(path));
    llvm::cantFail(file.write("half of the new file"));
    raise(SIGKILL);
  };
  EXPECT_EXIT(writeAndDie(), testing::KilledBySignal(SIGKILL), "");
  EXPECT_EQ(readFile(path), before);
  EXPECT_EQ(listFolder(".").size(), 2u);
}

} // namespace

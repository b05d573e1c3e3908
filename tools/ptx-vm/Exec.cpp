// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Exec.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <cerrno>
#include <cstdlib>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

using namespace llvm;

namespace ptxvm_tool {
namespace {

Error bad(const Twine &message) {
  return createStringError(inconvertibleErrorCode(), message);
}

/// The folder beside this program where the machine is called libcuda.so.1.
Expected<std::string> driverFolder() {
  static int here;
  std::string self = sys::fs::getMainExecutable(nullptr, &here);
  SmallString<256> folder(sys::path::parent_path(self));
  sys::path::append(folder, "..", "lib", "ptxvm-cuda");
  sys::path::remove_dots(folder, true);
  if (!sys::fs::exists(folder + "/libcuda.so.1"))
    return bad("expected the driver library in " + folder);
  return std::string(folder);
}

void set(const char *name, const std::string &value) {
  if (!value.empty())
    setenv(name, value.c_str(), 1);
}

void prepend(const char *name, const std::string &value) {
  const char *old = std::getenv(name);
  setenv(name, (value + (old && *old ? std::string(":") + old : "")).c_str(),
         1);
}

uint64_t sizeOf(const std::string &file) {
  uint64_t size = 0;
  return sys::fs::file_size(file, size) ? 0 : size;
}

Expected<int> spawn(const std::vector<std::string> &command) {
  std::vector<char *> arguments;
  for (const std::string &argument : command)
    arguments.push_back(const_cast<char *>(argument.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (int error = posix_spawnp(&child, arguments[0], nullptr, nullptr,
                               arguments.data(), environ))
    return bad("cannot run '" + Twine(command[0]) +
               "': " + std::generic_category().message(error));
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return bad("lost the program: " + std::generic_category().message(errno));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

} // namespace

Expected<int> runProgram(const ProgramRun &request) {
  Expected<std::string> folder = driverFolder();
  if (!folder)
    return folder.takeError();
  // A preloaded libcuda.so.1 also serves programs that carry their own search
  // path; the folder serves those that load "libcuda.so".
  prepend("LD_PRELOAD", *folder + "/libcuda.so.1");
  prepend("LD_LIBRARY_PATH", *folder);
  set("NAG_PTXVM_CHECKS", request.checks);
  set("NAG_PTXVM_COUNTERS", request.countersFile);
  set("NAG_PTXVM_FINDINGS", request.findingsFile);
  set("NAG_PTXVM_CHIP", request.chip);
  const char *given = std::getenv("NAG_PTXVM_FINDINGS");
  std::string findings = given ? given : "";
  bool isTemporary = findings.empty();
  if (isTemporary) {
    SmallString<128> path;
    if (std::error_code error =
            sys::fs::createTemporaryFile("ptx-vm", "findings", path))
      return bad("cannot make a temporary file: " + error.message());
    findings = std::string(path);
    set("NAG_PTXVM_FINDINGS", findings);
  }
  uint64_t before = sizeOf(findings);
  Expected<int> code = spawn(request.command);
  bool found = sizeOf(findings) > before;
  if (isTemporary)
    sys::fs::remove(findings);
  if (code && *code == 0 && found)
    return 1;
  return code;
}

} // namespace ptxvm_tool

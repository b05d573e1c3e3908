// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc compile: machine code and its manifest from a module.
#include "Commands.h"

#include "nag/Driver/Target.h"
#include "nag/Target/CPU/Compiler.h"
#include "nag/Target/CUDA/Assembler.h"
#include "nag/Target/CUDA/Compiler.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand compileCommand("compile",
                                     "Compile a module for a target");

enum class Emit { Default, MLIR, LLVM, Object, PTX, Cubin };

static cl::opt<std::string> input(cl::Positional, cl::sub(compileCommand),
                                  cl::Required, cl::value_desc("file.mlir"),
                                  cl::desc("<module>"));
static cl::opt<std::string>
    target("target", cl::sub(compileCommand), cl::init("cpu"),
           cl::value_desc("cpu|cuda"),
           cl::desc("cpu: this computer's; cuda: NVIDIA GPUs (default: cpu)"));
static cl::opt<std::string> chip("chip", cl::sub(compileCommand),
                                 cl::value_desc("sm_80|sm_90a"),
                                 cl::desc("Chip of the target cuda (default: "
                                          "sm_80)"));
static cl::opt<std::string>
    precision("precision", cl::sub(compileCommand), cl::init("f32"),
              cl::value_desc("f32|tf32|bf16"),
              cl::desc("How contractions of f32 tensors multiply; tf32 and "
                       "bf16 on the target cuda (default: f32)"));
static cl::opt<std::string>
    schedule("schedule", cl::sub(compileCommand), cl::value_desc("file.json"),
             cl::desc("Schedules of kernels of the target cuda, as nagc tune "
                      "writes them"));
static cl::opt<Emit> emitKind(
    "emit", cl::sub(compileCommand), cl::init(Emit::Default),
    cl::desc("What to write beside manifest.json:"),
    cl::values(
        clEnumValN(Emit::MLIR, "mlir",
                   "program.mlir, the LLVM dialect; for cuda kernels.mlir too"),
        clEnumValN(Emit::LLVM, "llvm",
                   "program.ll, optimised LLVM IR; for cuda kernels.ll too"),
        clEnumValN(Emit::Object, "object",
                   "program.o, for NagKernels, libdnnl and libomp (default "
                   "for cpu)"),
        clEnumValN(Emit::PTX, "ptx", "kernels.ptx (default for cuda)"),
        clEnumValN(Emit::Cubin, "cubin", "kernels.cubin, assembled by ptxas")));
static cl::opt<std::string> folder("o", cl::sub(compileCommand), cl::Required,
                                   cl::value_desc("folder"),
                                   cl::desc("Folder to write to"));
static cl::opt<std::string>
    differentiated("differentiate", cl::sub(compileCommand),
                   cl::value_desc("function"),
                   cl::desc("Add the vector-Jacobian product of a function as "
                            "<function>.gradients"));
static cl::opt<RecomputeMode> recompute(
    "recompute", cl::sub(compileCommand), cl::init(RecomputeMode::Cheap),
    cl::desc("What the backward pass computes again instead of saving:"),
    getRecomputeModes());
static cl::opt<bool> report("report-memory", cl::sub(compileCommand),
                            cl::desc("Print what each function's memory plan "
                                     "costs"));

static cl::opt<bool> fuse(
    "fuse", cl::sub(compileCommand), cl::init(true),
    cl::desc("Join products and the ops around them into kernels (default)"));
static cl::opt<bool> rowGram(
    "row-gram", cl::sub(compileCommand),
    cl::desc("Write rotate and norms as sums and combinations of rows first"));
static cl::opt<bool>
    remarksWanted("remarks", cl::sub(compileCommand),
                  cl::desc("Say what was fused, what was not, and why"));
static cl::opt<bool>
    launches("report-launches", cl::sub(compileCommand),
             cl::desc("Print how many kernels each function launches"));
static cl::opt<int64_t> headBytes(
    "head-bytes", cl::sub(compileCommand), cl::init(32 << 20),
    cl::desc("Bytes of logits that the loss may have in memory at a time, but "
             "at least 1/32 of them (by default 33554432; for cuda 100663296, "
             "at least 1/6)"));

static bool isCUDA() { return target == "cuda"; }

static Error checkUse() {
  driver::TargetOptions options;
  options.target = target;
  options.chip = chip;
  options.precision = precision;
  options.schedule = schedule;
  if (Error error = options.check())
    return make_error<tool::UsageError>("--" + toString(std::move(error)));
  if (headBytes < 1)
    return make_error<tool::UsageError>(
        "--head-bytes: expected 1 or more, but got " + Twine(headBytes));
  bool isForCPU = emitKind == Emit::Object;
  bool isForCUDA = emitKind == Emit::PTX || emitKind == Emit::Cubin;
  if (isCUDA() ? isForCPU : isForCUDA)
    return make_error<tool::UsageError>(
        Twine("--emit: expected mlir, llvm") +
        (isCUDA() ? ", ptx or cubin for the target cuda"
                  : " or object for the target cpu"));
  return Error::success();
}

static Error writeOutput(StringRef name,
                         function_ref<void(raw_ostream &)> write) {
  SmallString<128> path(folder);
  sys::path::append(path, name);
  return tool::writeFile(path, write);
}

static Error writeText(StringRef name,
                       function_ref<void(raw_ostream &)> write) {
  return writeOutput(name, [&](raw_ostream &os) {
    write(os);
    os << '\n';
  });
}

static Error writeManifest(json::Value manifest) {
  return writeText("manifest.json",
                   [&](raw_ostream &os) { os << formatv("{0:2}", manifest); });
}

static void configure(TrainingPipelineOptions &training,
                      ProgramPipelineOptions &plan) {
  if (!differentiated.empty())
    training.function = differentiated.getValue();
  training.recompute = recompute.getValue();
  plan.report = report.getValue();
  training.fuseHead = plan.fuse = fuse.getValue();
  plan.rowGram = rowGram.getValue();
  plan.remarks = remarksWanted.getValue();
  plan.launches = launches.getValue();
  if (headBytes.getNumOccurrences() > 0) {
    plan.headBytes = headBytes.getValue();
    plan.headChunks = 32;
  }
}

//===----------------------------------------------------------------------===//
// The target cpu
//===----------------------------------------------------------------------===//

static Error writeHostProgram(mlir::ModuleOp program) {
  if (emitKind == Emit::MLIR)
    return writeText("program.mlir", [&](raw_ostream &os) { os << program; });
  LLVMContext context;
  auto module = cpu::translateToLLVM(program, context);
  if (!module)
    return module.takeError();
  if (emitKind == Emit::LLVM)
    return writeOutput("program.ll",
                       [&](raw_ostream &os) { (*module)->print(os, nullptr); });
  auto object = cpu::emitObject(**module);
  if (!object)
    return object.takeError();
  return writeOutput("program.o", [&](raw_ostream &os) {
    os.write(object->data(), object->size());
  });
}

static Error compileForCPU(mlir::ModuleOp program) {
  cpu::CompileOptions options;
  configure(options.training, options.pipeline);
  auto manifest = cpu::lowerToLLVMDialect(program, options);
  if (!manifest)
    return manifest.takeError();
  if (Error error = writeHostProgram(program))
    return error;
  return writeManifest(toJSON(*manifest));
}

//===----------------------------------------------------------------------===//
// The target cuda
//===----------------------------------------------------------------------===//

/// Writes what was asked for. Says what kernels take where ptxas is installed.
static Error
writeKernels(const cuda::LoweredProgram &program,
             std::optional<StringMap<cuda::KernelResources>> &resources) {
  if (!program.device)
    return Error::success();
  if (emitKind == Emit::MLIR)
    return writeText("kernels.mlir",
                     [&](raw_ostream &os) { os << *program.device; });
  LLVMContext context;
  auto module =
      cuda::translateToLLVM(program.getDeviceModule(), program.chip, context);
  if (!module)
    return module.takeError();
  if (emitKind == Emit::LLVM)
    return writeOutput("kernels.ll",
                       [&](raw_ostream &os) { (*module)->print(os, nullptr); });
  auto ptx = cuda::emitPTX(**module, program.chip);
  if (!ptx)
    return ptx.takeError();
  bool isCubin = emitKind == Emit::Cubin;
  if (!isCubin)
    if (Error error =
            writeOutput("kernels.ptx", [&](raw_ostream &os) { os << *ptx; }))
      return error;
  if (!isCubin && !cuda::findAssembler())
    return Error::success();
  auto cubin = cuda::assemble(*ptx, program.chip);
  if (!cubin)
    return cubin.takeError();
  resources = std::move(cubin->kernels);
  if (!isCubin)
    return Error::success();
  return writeOutput("kernels.cubin",
                     [&](raw_ostream &os) { os << cubin->image; });
}

static Error compileForCUDA(mlir::ModuleOp program) {
  cuda::CompileOptions options;
  configure(options.training, options.plan);
  if (!chip.empty())
    options.kernels.chip = chip.getValue();
  options.kernels.tf32 = precision == "tf32";
  options.kernels.schedule = schedule.getValue();
  options.kernels.remarks = remarksWanted.getValue();
  options.training.bf16 = precision == "bf16";
  options.keepRoundings = true;
  auto lowered = cuda::lower(program, options);
  if (!lowered)
    return lowered.takeError();
  if (emitKind == Emit::MLIR || emitKind == Emit::LLVM)
    if (Error error = writeHostProgram(program))
      return error;
  std::optional<StringMap<cuda::KernelResources>> resources;
  if (Error error = writeKernels(*lowered, resources))
    return error;
  return writeManifest(
      cuda::toJSON(*lowered, resources ? &*resources : nullptr));
}

static Expected<int> run() {
  if (Error error = checkUse())
    return error;
  mlir::DialectRegistry registry;
  tool::registerDialects(registry);
  mlir::MLIRContext context(registry);
  auto program = tool::readModule(input, context);
  if (!program)
    return program.takeError();
  if (std::error_code code = sys::fs::create_directories(folder.getValue()))
    return createStringError(folder + ": " + code.message());
  tool::DiagnosticCollector diagnostics(context);
  mlir::ScopedDiagnosticHandler remarks(&context, [](mlir::Diagnostic &remark) {
    if (remark.getSeverity() != mlir::DiagnosticSeverity::Remark)
      return failure();
    errs() << remark << '\n';
    return success();
  });
  if (Error error =
          isCUDA() ? compileForCUDA(**program) : compileForCPU(**program))
    return diagnostics.takeError(toString(std::move(error)));
  return tool::kDone;
}

tool::Command nag::tool::getCompileCommand() { return {compileCommand, run}; }

// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nagc compile: machine code and its manifest from a module.
#include "Commands.h"

#include "nag/Target/CPU/Compiler.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace nag;

static cl::SubCommand compileCommand("compile",
                                     "Compile a module for a target");

enum class Emit { MLIR, LLVM, Object };

static cl::opt<std::string> input(cl::Positional, cl::sub(compileCommand),
                                  cl::Required, cl::value_desc("file.mlir"),
                                  cl::desc("<module>"));
static cl::opt<std::string> target("target", cl::sub(compileCommand),
                                   cl::init("cpu"), cl::value_desc("cpu"),
                                   cl::desc("Target: cpu (this computer's)"));
static cl::opt<std::string>
    precision("precision", cl::sub(compileCommand), cl::init("f32"),
              cl::value_desc("f32"),
              cl::desc("Precision of contractions: f32 (each in its operands' "
                       "own type)"));
static cl::opt<Emit> emitKind(
    "emit", cl::sub(compileCommand), cl::init(Emit::Object),
    cl::desc("What to write beside manifest.json:"),
    cl::values(clEnumValN(Emit::MLIR, "mlir", "program.mlir, the LLVM dialect"),
               clEnumValN(Emit::LLVM, "llvm", "program.ll, optimised LLVM IR"),
               clEnumValN(Emit::Object, "object",
                          "program.o, for NagKernels, libdnnl and libomp")));
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

static Error checkUse() {
  if (target != "cpu")
    return make_error<tool::UsageError>("--target: expected cpu, but got '" +
                                        target + "'");
  if (precision != "f32")
    return make_error<tool::UsageError>("--precision: expected f32, but got '" +
                                        precision + "'");
  return Error::success();
}

static Error writeOutput(StringRef name,
                         function_ref<void(raw_ostream &)> write) {
  SmallString<128> path(folder);
  sys::path::append(path, name);
  return tool::writeFile(path, write);
}

/// Writes the program in the form that was asked for.
static Error writeProgram(mlir::ModuleOp program) {
  if (emitKind == Emit::MLIR)
    return writeOutput("program.mlir",
                       [&](raw_ostream &os) { os << program << '\n'; });
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
  cpu::CompileOptions options;
  if (!differentiated.empty())
    options.training.function = differentiated.getValue();
  options.training.recompute = recompute.getValue();
  options.pipeline.report = report.getValue();
  auto manifest = cpu::lowerToLLVMDialect(**program, options);
  if (!manifest)
    return diagnostics.takeError(toString(manifest.takeError()));
  if (Error error = writeProgram(**program))
    return diagnostics.takeError(toString(std::move(error)));
  if (Error error = writeOutput("manifest.json", [&](raw_ostream &os) {
        os << formatv("{0:2}\n", cpu::toJSON(*manifest));
      }))
    return error;
  return tool::kDone;
}

tool::Command nag::tool::getCompileCommand() { return {compileCommand, run}; }

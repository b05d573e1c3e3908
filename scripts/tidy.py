# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""clang-tidy over lib and tools, with the checks of .clang-tidy: prints what it finds, then one line per file that fails.

Parsing MLIR's headers is most of the work, so they are parsed once, into a precompiled header. Files that passed are
remembered in the build folder and looked at again when they, any header of the project, or .clang-tidy change.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("lib", "tools")
# What most files include; any set serves, the time differs.
PRECOMPILED = """
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/RegionUtils.h"
"""
USES_MLIR = re.compile(rb'#include "(mlir|nag/(Dialect|Conversion|Interfaces|Pipelines|Codegen|Target|Model|Driver))/')
# Flags that a file must share with the precompiled header.
DIALECT = re.compile(r"-(f(?!PIC)|m|W|D|O)\S+")
# The header that a build by Clang precompiles holds more than clang-tidy walks through in a short time.
BUILDS_HEADER = re.compile(r"-Winvalid-pch( -Xclang -include(-pch)? -Xclang \S+)+")


def digest(*parts):
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else part.encode())
        whole.update(b"\0")
    return whole.hexdigest()


class Tidy:
    def __init__(self, build, llvm):
        self.build, self.bin, self.folder = build, llvm / "bin", build / "tidy"
        self.folder.mkdir(exist_ok=True)
        commands = json.loads(BUILDS_HEADER.sub("", (build / "compile_commands.json").read_text()))
        (self.folder / "compile_commands.json").write_text(json.dumps(commands))
        self.commands = {pathlib.Path(c["file"]): c["command"] for c in commands}
        self.sources = sorted(f for f in self.commands if f.is_relative_to(ROOT) and not f.is_relative_to(build)
                              and f.relative_to(ROOT).parts[0] in FOLDERS)
        headers = sorted(p for folder in ("include", *FOLDERS) for p in (ROOT / folder).rglob("*")
                         if p.suffix in (".h", ".td"))
        self.context = digest((ROOT / ".clang-tidy").read_bytes(), *(h.read_bytes() for h in headers),
                              pathlib.Path(__file__).read_bytes())
        self.uses_mlir = {f for f in self.sources if USES_MLIR.search(self.with_own_headers(f))}

    def with_own_headers(self, source):
        """The text of a source and of the headers beside it, which may include MLIR's for it."""
        return b"".join([source.read_bytes(), *(h.read_bytes() for h in sorted(source.parent.glob("*.h")))])

    def flags(self, source):
        return tuple(sorted(m.group() for m in DIALECT.finditer(self.commands[source])))

    def precompile(self):
        """Maps sets of flags to a precompiled header; the commonest set has one."""
        users = {}
        for source in self.uses_mlir:
            users.setdefault(self.flags(source), []).append(source)
        if not users:
            return {}
        flags, sources = max(users.items(), key=lambda item: len(item[1]))
        arguments = [a for a in shlex.split(self.commands[sources[0]])[1:] if a != "-c"]
        arguments = arguments[:arguments.index("-o")]
        header, result = self.folder / "mlir.h", self.folder / "mlir.pch"
        key = digest(PRECOMPILED, *arguments)
        stamp = self.folder / "mlir.key"
        if not (result.exists() and stamp.exists() and stamp.read_text() == key):
            header.write_text(PRECOMPILED)
            subprocess.run([self.bin / "clang++", "-x", "c++-header", header, "-o", result, *arguments], check=True,
                           cwd=self.build)
            stamp.write_text(key)
        return {flags: result}

    def check(self, source, precompiled):
        """What clang-tidy says of a file; nothing when it is clean."""
        stamp = self.folder / (digest(str(source))[:16] + ".passed")
        key = digest(self.context, source.read_bytes(), self.commands[source])
        if stamp.exists() and stamp.read_text() == key:
            return ""
        header = precompiled.get(self.flags(source)) if source in self.uses_mlir else None
        extra = [f"--extra-arg-before={a}" for a in ("-include-pch", header)] if header else []
        result = subprocess.run([self.bin / "clang-tidy", "-p", self.folder, "--quiet", *extra, source],
                                capture_output=True, text=True)
        if result.returncode == 0:
            stamp.write_text(key)
            return ""
        return result.stdout + result.stderr

    def run(self, jobs):
        """Yields (source, what is wrong with it) for every file."""
        precompiled = self.precompile()
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            yield from zip(self.sources, pool.map(lambda source: self.check(source, precompiled), self.sources))


def llvm_folder(build):
    cache = (build / "CMakeCache.txt").read_text()
    return pathlib.Path(re.search(r"^LLVM_DIR:\w+=(.*)$", cache, re.M).group(1)).parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda p: (ROOT / p).resolve(), default=ROOT / "build")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    failed = 0
    for source, complaint in Tidy(options.build, llvm_folder(options.build)).run(options.jobs):
        if complaint:
            print(complaint, f"{source.relative_to(ROOT)}: run clang-tidy", sep="\n", flush=True)
            failed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

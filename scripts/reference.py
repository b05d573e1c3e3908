# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes docs/reference from TableGen, the table of configuration keys and the Python package, or with --check fails when
the pages have drifted.

With --examples, every ```mlir block of the op reference is completed to a module
and put through nag-opt with a round trip, so that what the pages show is true.
"""

import argparse
import difflib
import json
import pathlib
import re
import subprocess
import sys

import python_reference

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = {
    "dialect.md": ["-gen-dialect-doc", "-dialect=nag", "nag/Dialect/Nag/IR/NagOps.td"],
    "schedules.md": ["-gen-attrdef-doc", "nag/Dialect/Nag/IR/NagSchedule.td"],
    "interfaces.md": ["-gen-op-interface-docs", "nag/Interfaces/NagInterfaces.td"],
    "transforms.md": ["-gen-pass-doc", "nag/Dialect/Nag/Transforms/Passes.td"],
    "precision.md": ["-gen-pass-doc", "nag/Dialect/Nag/Transforms/Precision.td"],
    "generation.md": ["-gen-pass-doc", "nag/Dialect/Nag/Transforms/GenerationPasses.td"],
    "routing.md": ["-gen-pass-doc", "nag/Dialect/Nag/Transforms/RoutingPasses.td"],
    "inspection.md": ["-gen-pass-doc", "nag/Dialect/Nag/Transforms/InspectionPasses.td"],
    "conversions.md": ["-gen-pass-doc", "nag/Conversion/Passes.td"],
}


def tool(name, build):
    """Path of an LLVM tool: the one CMake found."""
    cache = (build / "CMakeCache.txt").read_text()
    llvm_dir = re.search(r"^LLVM_DIR:\w+=(.*)$", cache, re.M).group(1)
    return str(pathlib.Path(llvm_dir).parents[2] / "bin" / name)


def render(arguments, build):
    *flags, source = arguments
    include = pathlib.Path(tool("", build)).parent / "include"
    command = [tool("mlir-tblgen", build), *flags, "-I", str(include), "-I", str(ROOT / "include")]
    command.append(str(ROOT / "include" / source))
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def describe_values(schema):
    """"integer in [1, 65536]", "one of `nag`, `prenorm`", of a key's schema."""
    if "anyOf" in schema:
        return " or ".join(describe_values(part) for part in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "pattern" in schema:
        return f"text `{schema['pattern']}`".replace("|", "\\|")
    bounds = f" in [{schema['minimum']:g}, {schema['maximum']:g}]" if schema["type"] == "number" else \
        f" in [{schema['minimum']}, {schema['maximum']}]" if "minimum" in schema else ""
    return schema["type"] + bounds


def config_page(schema):
    """The keys of a model's configuration as a table."""
    lines = ["# Keys of a model", "",
             "What `nagc model --set key=value`, `--config FILE.json`, `nag.config` on a module and `nag.ModelConfig` in Python take. The same",
             "as a JSON Schema is [config.schema.json](config.schema.json) (`nagc model --schema`): an editor that is told of it, by `\"$schema\"` in",
             "the file, completes keys and marks errors. Errors name file, line and key.", "",
             "| key | values | default | |", "| --- | --- | --- | --- |"]
    for name, key in schema["properties"].items():
        default = f"`{json.dumps(key['default'])}`" if "default" in key else ""
        lines.append(f"| `{name}` | {describe_values(key)} | {default} | {key.get('description', '')} |")
    return "\n".join(lines) + "\n"


def pages(build):
    folder = ROOT / "docs" / "reference"
    schema = subprocess.run([str(build / "bin" / "nagc"), "model", "--schema"], check=True, capture_output=True, text=True).stdout
    return {**{folder / name: render(arguments, build) for name, arguments in PAGES.items()},
            folder / "config.schema.json": schema, folder / "config.md": config_page(json.loads(schema)),
            folder / "python.md": python_reference.page()}


def write(build):
    for path, text in pages(build).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def check(build):
    drifted = False
    for path, text in pages(build).items():
        old = path.read_text() if path.exists() else ""
        diff = list(difflib.unified_diff(old.splitlines(), text.splitlines(), str(path), "TableGen", lineterm=""))
        drifted |= bool(diff)
        print("\n".join(diff[:40]), end="\n" if diff else "")
    if drifted:
        sys.exit("reference pages have drifted: run scripts/reference.py")


def split_top_level(text):
    """Splits 'a<b, c>, d' at its top-level commas; parentheses around groups are dropped."""
    parts, depth, current = [], 0, ""
    for char in text:
        depth += (char in "<(") - (char in ">)")
        if char == "," and depth <= 0:
            parts.append(current)
            current = ""
        else:
            current += char
    parts.append(current)
    return [part.strip() for part in parts if part.strip()]


def without_results(statement):
    """The op of `%a, %b = op ...`; attributes hold ` = ` too."""
    return re.sub(r"^\s*%\w+[^=]*= ", "", statement, count=1) if statement.lstrip().startswith("%") else statement


def operand_types(statement):
    """Pairs the operands of one op with the operand types written behind its colon."""
    body = without_results(statement)
    left, right = re.split(r"\s:\s", body, maxsplit=1)
    types = right.split("->")[0].split("{")[0]
    names = re.findall(r"%\w+", left)
    groups = split_top_level(types.replace("\n", " "))
    flat = []
    for group in groups:
        flat += split_top_level(group[1:-1]) if group.startswith("(") else [group]
    if len(flat) < len(names):  # one type stands for a stream split in two, or for all operands
        return list(zip(names, stream_parts(flat[0]) or [flat[0]] * len(names)))
    return list(zip(names, flat))


def stream_parts(stream):
    """The types of a stream's direction and log-norm; nothing where the type is another."""
    shape = re.match(r"!nag.stream<(.*)x(\w+)x(\w+)>", stream)
    if not shape:
        return []
    lead, width, element = shape.groups()
    return [f"tensor<{lead}x{width}x{element}>", f"tensor<{lead}xf32>"]


def callee(statement):
    """Declarations for the functions an example names."""
    if "nag.repeat" in statement:
        groups = re.search(r"\s:\s(.*)", statement, re.S).group(1).replace("\n", " ")
        ins, outs = [split_top_level(side) for side in groups.split("->")]
        carry, stacked, shared = [split_top_level(group[1:-1]) for group in ins]
        carried, slices = [split_top_level(group[1:-1]) for group in outs]
        cut = lambda types: [re.sub(r"<\d+x", "<", t) for t in types]
        arguments = ", ".join(carry + cut(stacked) + shared)
        return f"func.func private @layer({arguments}) -> ({', '.join(carried + cut(slices))})\n"
    if "nag.launch" in statement:
        ins, outs = re.search(r"\s:\s\((.*)\) -> (.*)", statement, re.S).groups()
        return f"module @kernels {{ func.func private @residual({ins}, {outs}) -> {outs} }}\n"
    return ""


def as_module(example):
    """Completes an example to a module: its free values become arguments."""
    if "nag.yield" in example.split("\n")[0] or "%" not in example:
        return None
    if example.startswith("%w: "):  # an argument with its attributes
        return f"func.func @example({example}) {{\n  return\n}}\n"
    first = re.split(r"\n\^bb0", example)[0]
    arguments = {}
    for statement in re.split(r"\n(?=%)", first):
        if re.search(r"%\w+.*\s:\s", without_results(statement), re.S):
            arguments |= {n: t for n, t in operand_types(statement) if n not in arguments}
    for line in re.split(r"\^bb0[^\n]*\n", example)[1:]:
        inner = [s for s in line.split("\n") if " = " in s]
        bound = set(re.findall(r"%\w+", example.split("^bb0")[1].split("\n")[0]))
        bound |= {name for statement in inner for name in re.findall(r"%\w+", statement.split(" = ")[0])}
        for statement in inner:
            arguments |= {n: t for n, t in operand_types(statement) if n not in bound | set(arguments)}
    parameters = ", ".join(f"{name}: {kind}" for name, kind in arguments.items())
    if "nag.kernel" in first:
        parameters = ", ".join(f"{name}: {kind}" for name, kind in operand_types(first))
    return f"{callee(example)}func.func @example({parameters}) {{\n{example}\n  return\n}}\n"


def check_examples(build):
    page = (ROOT / "docs" / "reference" / "dialect.md").read_text()
    failed = ran = 0
    blocks = re.findall(r"```mlir\n(.*?)```", page, re.S)
    # What follows an op with a region at the margin is another example.
    for example in (part for block in blocks for part in re.split(r"(?<=\n}\n)(?=%)", block)):
        module = as_module(example)
        if module is None:
            continue
        ran += 1
        command = [str(build / "bin" / "nag-opt"), "--verify-roundtrip", "-"]
        result = subprocess.run(command, input=module, capture_output=True, text=True)
        if result.returncode:
            failed += 1
            print(f"{module}\n{result.stderr}")
    print(f"{ran} examples ran, {failed} failed")
    if failed or ran < 40:
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--check", action="store_true", help="fail when the pages differ from TableGen")
    parser.add_argument("--examples", action="store_true", help="run the examples of the op reference")
    options = parser.parse_args()
    if options.examples:
        check_examples(options.build)
    elif options.check:
        check(options.build)
    else:
        write(options.build)


if __name__ == "__main__":
    main()

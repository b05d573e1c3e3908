# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The reference page of the Python package, from its sources: signatures and docstrings of what `nag` exports."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODULES = ["config", "model", "builder", "program", "training", "generation", "checkpoints", "torch", "_errors"]
HEADINGS = {"_errors": "Errors", "torch": "nag.torch"}


def signature(node):
    """A function's head as one writes it, without its annotations' quotes."""
    arguments = ast.unparse(node.args)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({arguments}){returns}"


def is_public(node):
    return isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_") and ast.get_docstring(node)


def describe_class(node):
    bases = [ast.unparse(base) for base in node.bases]
    lines = [f"### class {node.name}" + (f"({', '.join(bases)})" if bases else ""), "", render(ast.get_docstring(node)), ""]
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            lines[1:1] = ["", f"`{signature(member).replace('__init__(self, ', node.name + '(').replace(' -> None', '')}`"]
        elif is_public(member):
            decorators = {ast.unparse(d) for d in member.decorator_list}
            head = member.name if "property" in decorators else signature(member)
            head = head.replace("(self, ", "(").replace("(self)", "()").replace("(cls, ", "(")
            lines += [f"- `{head}`: {render(ast.get_docstring(member), '  ')}"]
    return lines + [""]


def render(text, indent=""):
    """A docstring as Markdown: its examples become code blocks."""
    lines, inside = [], False
    for line in text.splitlines():
        starts = line.startswith(">>>")
        if starts and not inside:
            lines.append("```pycon")
            inside = True
        elif inside and not line.strip():
            lines.append("```")
            inside = False
        lines.append(line)
    if inside:
        lines.append("```")
    return ("\n" + indent).join(lines)


def page():
    lines = ["# Python reference", "", "Generated from the sources. The examples run as tests.", ""]
    for name in MODULES:
        tree = ast.parse((ROOT / "python" / "nag" / f"{name}.py").read_text())
        lines += [f"## {HEADINGS.get(name, name.capitalize())}", "", render(ast.get_docstring(tree)), ""]
        for node in tree.body:
            if is_public(node) and isinstance(node, ast.ClassDef):
                lines += describe_class(node)
            elif is_public(node):
                lines += [f"### `{signature(node)}`", "", render(ast.get_docstring(node)), ""]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"

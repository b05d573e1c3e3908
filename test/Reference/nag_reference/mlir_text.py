# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reads MLIR's generic form (`nag-opt --mlir-print-op-generic`): operations, regions, attributes as Python values."""

import re
from dataclasses import dataclass

import numpy as np

PAIRS = {"(": ")", "[": "]", "{": "}", "<": ">"}
NUMPY_TYPES = {"f64": np.float64, "f32": np.float32, "i64": np.int64, "i32": np.int32, "i1": np.bool_,
               "index": np.int64}


@dataclass
class Operation:
    name: str
    results: list  # names; "%3#1" is the second of %3
    operands: list
    attributes: dict
    regions: list  # of Block; the programs read here have one block per region
    result_types: list


@dataclass
class Block:
    arguments: list
    operations: list


class Cursor:
    """A position in the text."""

    def __init__(self, text):
        self.text, self.position = text, 0

    def rest(self):
        return self.text[self.position:self.position + 60].split("\n")[0]

    def skip_space(self):
        self.position = re.compile(r"\s*").match(self.text, self.position).end()

    def match(self, pattern):
        """The match of a regular expression here, which is then consumed."""
        self.skip_space()
        found = re.compile(pattern).match(self.text, self.position)
        if found:
            self.position = found.end()
        return found

    def expect(self, pattern):
        found = self.match(pattern)
        if not found:
            raise ValueError(f"expected {pattern}, but got '{self.rest()}'")
        return found

    def balanced(self):
        """The inside of the bracket that opens here, which is consumed with its end."""
        self.skip_space()
        start, depth = self.position, 0
        for found in re.compile(r'"(?:[^"\\]|\\.)*"|->|[()\[\]{}<>]').finditer(self.text, start):
            depth += found[0] in PAIRS
            depth -= found[0] in PAIRS.values()
            if depth == 0 and found[0] in PAIRS.values():
                self.position = found.end()
                return self.text[start + 1:found.start()]
        raise ValueError(f"expected the end of a bracket, but got '{self.rest()}'")


def split(text):
    """Parts between the commas outside brackets and strings."""
    parts, depth, start = [], 0, 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|->|[()\[\]{}<>,]', text):
        depth += found[0] in PAIRS
        depth -= found[0] in PAIRS.values()
        if found[0] == "," and depth == 0:
            parts.append(text[start:found.start()].strip())
            start = found.end()
    last = text[start:].strip()
    return parts + [last] if last else parts


def shape_and_type(text):
    """Of `tensor<2x3xf32>` or `!nag.stream<...>`."""
    *shape, element = re.search(r"<(.*)>", text)[1].split(",")[0].split("x")
    return tuple(int(n) for n in shape), NUMPY_TYPES.get(element, np.float64)


def dense(text):
    values, kind = re.match(r"dense<(.*)> : (.*)", text, re.S).groups()
    shape, dtype = shape_and_type(kind)
    numbers = [float(x) for x in re.findall(r"[^\s,\[\]]+", values.replace("true", "1").replace("false", "0"))]
    return np.broadcast_to(np.array(numbers, dtype).reshape(shape if len(numbers) > 1 else ()), shape)


def attribute(text):
    """Numbers, strings, symbols, lists, dictionaries; anything else stays text."""
    if text.startswith("["):
        return [attribute(x) for x in split(text[1:-1])]
    if text.startswith("{"):
        return dictionary(text[1:-1])
    if text.startswith("dense<"):
        return dense(text)
    if text.startswith("array<"):
        return [int(x) for x in text[text.index(":") + 1:-1].split(",")] if ":" in text else []
    if text.startswith(('"', "@")):
        return text.strip('"').removeprefix("@")
    number = re.fullmatch(r"(-?[0-9][0-9.]*(?:[eE][-+]?[0-9]+)?)(?: : (\w+))?", text)
    if number:
        return float(number[1]) if re.search(r"[.eE]", number[1]) else int(number[1])
    return {"unit": True, "true": True, "false": False}.get(text, text)


def dictionary(text):
    result = {}
    for entry in split(text):
        name, equals, value = entry.partition(" = ")
        result[name.strip('"')] = attribute(value) if equals else True
    return result


def result_names(cursor):
    found = cursor.match(r"(%[\w$.-]+)(?::(\d+))? = ")
    if not found:
        return []
    return [found[1]] if found[2] is None else [f"{found[1]}#{i}" for i in range(int(found[2]))]


def region(cursor):
    """One block; its label may be left out where it has no arguments."""
    cursor.expect(r"\{")
    arguments = []
    if cursor.match(r"\^bb\d+"):
        if cursor.match(r"(?=\()"):
            arguments = [x.split(":")[0].strip() for x in split(cursor.balanced())]
        cursor.expect(":")
    operations = []
    while not cursor.match(r"\}"):
        operations.append(operation(cursor))
    return Block(arguments, operations)


def regions(cursor):
    result = []
    if cursor.match(r"\((?=\{)"):
        result.append(region(cursor))
        while cursor.match(","):
            result.append(region(cursor))
        cursor.expect(r"\)")
    return result


def result_types(cursor):
    cursor.expect(":")
    cursor.balanced()
    cursor.expect("->")
    if cursor.match(r"(?=\()"):
        return split(cursor.balanced())
    start = cursor.position
    cursor.expect(r"[!\w.]+")
    if cursor.text[cursor.position] == "<":
        cursor.balanced()
    return [cursor.text[start:cursor.position].strip()]


def operation(cursor):
    results = result_names(cursor)
    name = cursor.expect(r'"([\w.]+)"')[1]
    operands = split(cursor.balanced())
    attributes = dictionary(cursor.balanced().strip("{}")) if cursor.match(r"(?=<\{)") else {}
    nested = regions(cursor)
    if cursor.match(r"(?=\{)"):
        attributes |= dictionary(cursor.balanced())
    return Operation(name, results, operands, attributes, nested, result_types(cursor))


def parse(text):
    """The module's operations."""
    cursor = Cursor(text)
    while cursor.match(r"[#!][\w.]+ = .*\n"):  # aliases
        pass
    return operation(cursor).regions[0].operations

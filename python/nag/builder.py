# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules built op by op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ._errors import ArgumentError
from .model import Model, infer_types


@dataclass(frozen=True)
class Value:
    """A value of a function under construction."""

    name: str
    type: str


def _attribute(value: Any) -> str:
    """MLIR's text of a Python value: i64, f64, booleans, strings, lists; text in #...# form is taken as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value} : i64"
    if isinstance(value, float):
        return f"{value!r} : f64" if "." in repr(value) or "inf" in repr(value) else f"{value:.1e} : f64"
    if isinstance(value, str):
        return value if value.startswith("#") else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_attribute(v) for v in value) + "]"
    raise ArgumentError(f"expected an attribute of int, float, bool, str or a list of them, but got "
                        f"{type(value).__name__}")


def _attributes(attributes: Mapping[str, Any]) -> str:
    """A dictionary of attributes; True stands for a unit attribute, False and None for an absent one."""
    parts = [name if value is True else f"{name} = {_attribute(value)}" for name, value in attributes.items()
             if value is not None and value is not False]
    return "{" + ", ".join(parts) + "}" if parts else ""


class FunctionBuilder:
    """A function under construction: its arguments are attributes, `op` appends an op, `returns` ends it."""

    def __init__(self, name: str, arguments: Mapping[str, str]):
        self.name, self._count = name, 0
        self._lines: list[str] = []
        self.arguments = {label: Value(f"%{label}", kind) for label, kind in arguments.items()}
        self._results: list[tuple[str, Value]] | None = None

    def __getattr__(self, name: str) -> Value:
        arguments = self.__dict__.get("arguments", {})
        if name in arguments:
            return arguments[name]
        raise AttributeError(f"function '{self.__dict__.get('name')}' has no argument '{name}'")

    def op(self, op: str, *operands: Value, results: Sequence[str] | None = None, **attributes: Any) -> Any:
        """Appends an op such as "nag.linear" and returns its result, or a tuple of several.

        Result types follow from the operands where the op says so; else `results` gives them.
        """
        text = _attributes(attributes)
        types = list(results) if results is not None else infer_types(op, [v.type for v in operands], text)
        values = [Value(f"%{self._count + i}", kind) for i, kind in enumerate(types)]
        self._count += len(values)
        left = ", ".join(v.name for v in values) + " = " if values else ""
        inputs = ", ".join(v.type for v in operands)
        self._lines.append(f'{left}"{op}"({", ".join(v.name for v in operands)}) {text} : ({inputs}) -> '
                           f'({", ".join(types)})')
        return values[0] if len(values) == 1 else tuple(values)

    def returns(self, **results: Value) -> None:
        """Ends the function; results go by these names when the program is called."""
        self._results = list(results.items())

    def text(self) -> str:
        if self._results is None:
            raise ArgumentError(f"function '{self.name}': expected returns() before the module is built")
        arguments = ", ".join(f'{v.name}: {v.type} {{nag.name = "{label}"}}' for label, v in self.arguments.items())
        results = ", ".join(f'{v.type} {{nag.name = "{label}"}}' for label, v in self._results)
        values, types = (", ".join(getattr(v, field) for _, v in self._results) for field in ("name", "type"))
        body = "\n".join(f"  {line}" for line in self._lines)
        return f"func.func @{self.name}({arguments}) -> ({results}) {{\n{body}\n  return {values} : {types}\n}}\n"


class ModuleBuilder:
    """A module built op by op.

    >>> import nag, numpy as np
    >>> module = nag.ModuleBuilder()
    >>> f = module.function("f", x="tensor<4x8xf32>", w="tensor<2x8xf32>")
    >>> f.returns(y=f.op("nag.linear", f.x, f.w))
    >>> program = module.build().compile()
    >>> program.call("f", x=np.ones((4, 8), np.float32), w=np.ones((2, 8), np.float32))["y"][0].tolist()
    [8.0, 8.0]
    """

    def __init__(self) -> None:
        self._functions: list[FunctionBuilder] = []

    def function(self, name: str, **arguments: str) -> FunctionBuilder:
        """Starts a function with arguments of these MLIR types."""
        function = FunctionBuilder(name, arguments)
        self._functions.append(function)
        return function

    def build(self) -> Model:
        """The verified module; fails with a CompileError."""
        return Model.from_text("\n".join(f.text() for f in self._functions), "<built>")

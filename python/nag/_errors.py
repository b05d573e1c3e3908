# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What goes wrong, as exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Diagnostic:
    """One message of the compiler; line and column count from 1 and are 0 when unknown."""

    severity: str
    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.file else ""
        return f"{place}{self.severity}: {self.message}"


class Error(Exception):
    """Base of all errors of this package. The text is one line: what, where, expected and found."""


class CompileError(Error):
    """A module that does not parse, verify or compile. `diagnostics` holds all that the compiler said, in order."""

    def __init__(self, message: str, diagnostics: Sequence[Diagnostic] = ()):
        super().__init__(message)
        self.diagnostics = tuple(diagnostics)


class ArgumentError(Error, ValueError):
    """An argument that does not fit: an array of another type, shape, device or layout, an option out of range."""


class ConfigError(Error, ValueError):
    """A configuration that is not one: unknown fields, values out of range, fields that contradict each other."""


class CheckpointError(Error):
    """A file that cannot be read or written or that belongs to another model."""


class ClosedError(Error):
    """A program that was closed."""

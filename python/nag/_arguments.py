# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arguments of the caller's that must be of a kind, refused in one line where they are not."""

from __future__ import annotations

import math
import operator
import os
from typing import Any

from ._errors import ArgumentError


def _refuse(name: str, expected: str, value: Any) -> ArgumentError:
    return ArgumentError(f"{name}: expected {expected}, but got {value!r}"[:200])


def whole(name: str, value: Any, lowest: int | None = None) -> int:
    """An integer, of Python or numpy, that is at least `lowest`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise _refuse(name, "an integer", value) from None
    if lowest is not None and number < lowest:
        raise _refuse(name, f"at least {lowest}", number)
    if not -2 ** 63 <= number < 2 ** 63:
        raise _refuse(name, "an integer of 64 bits", number)
    return number


def real(name: str, value: Any) -> float:
    """A number, of Python or numpy."""
    if isinstance(value, (str, bytes)):
        raise _refuse(name, "a number", value)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _refuse(name, "a number", value) from None


def positive(name: str, value: Any) -> float:
    """A finite number that is at least 0."""
    number = real(name, value)
    if not (math.isfinite(number) and number >= 0):
        raise _refuse(name, "a finite value of at least 0", number)
    return number


def string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refuse(name, "a string", value)
    return value


def path(name: str, value: Any) -> str:
    """A file or folder."""
    try:
        return os.fsdecode(value)
    except TypeError:
        raise _refuse(name, "a path", value) from None

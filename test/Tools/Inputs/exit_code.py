# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs a command and fails unless it ends with the given exit code."""

import subprocess
import sys

expected, *command = sys.argv[1:]
result = subprocess.run(command, capture_output=True, text=True)
if result.returncode != int(expected):
    sys.exit(f"expected exit code {expected}, but got {result.returncode}: {result.stdout[-500:]}{result.stderr[-500:]}")

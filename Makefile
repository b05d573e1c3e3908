# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The two commands of the README: `make quickstart` and `make check`. Everything else is a step of theirs.

PRESET ?= release
BUILD = $(if $(filter debug,$(PRESET)),build-debug,build)

.PHONY: quickstart check setup build test clean

quickstart: build
	scripts/quickstart.sh $(BUILD)

check: build
	.venv/bin/python scripts/check.py --build $(BUILD)

setup:
	scripts/setup.sh

build: setup
	cmake --preset $(PRESET) -DPython3_EXECUTABLE=$(CURDIR)/.venv/bin/python >$(BUILD)-configure.log 2>&1 || { cat $(BUILD)-configure.log; exit 1; }
	cmake --build $(BUILD)

clean:
	rm -rf build build-debug build-configure.log build-debug-configure.log .venv

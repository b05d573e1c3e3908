# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs every test of a built tree and ends with one line, `N passed, N failed`.

The suites: source formatting, the lit tests, those of ops and passes again with --verify-roundtrip, the C++
unit tests (ctest) and the Python tests (pytest).
Exits with 1 when a test failed or a suite could not run.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(command, **options):
    print("+", *command, flush=True)
    return subprocess.run([str(part) for part in command], cwd=ROOT, **options)


def cached_path(build, key):
    """A path that CMake wrote into its cache."""
    cache = (build / "CMakeCache.txt").read_text()
    return pathlib.Path(re.search(rf"^{key}:\w+=(.*)$", cache, re.M).group(1))


def count_junit(path):
    """(passed, failed, skipped) of a JUnit file; one failure when the runner wrote none."""
    if not path.exists():
        return 0, 1, 0
    passed = failed = skipped = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None or case.get("status") in ("disabled", "notrun"):
            skipped += 1
        else:
            passed += 1
    return passed, failed, skipped


def check_format(build, scratch):
    """One test per C++ file: it is as clang-format leaves it."""
    formatter = cached_path(build, "LLVM_DIR").parents[2] / "bin" / "clang-format"
    listed = subprocess.run(["git", "ls-files", "*.cpp", "*.h"], cwd=ROOT, capture_output=True, text=True, check=True)
    passed = failed = 0
    for source in listed.stdout.split():
        bad = subprocess.run([formatter, "--dry-run", "-Werror", source], cwd=ROOT, capture_output=True).returncode
        if bad:
            print(f"{source}: not formatted, run clang-format -i")
        failed += bool(bad)
        passed += not bad
    return passed, failed, 0


def check_lit(build, scratch, *options):
    lit = cached_path(build, "LLVM_DIR").parents[2] / "bin" / "lit"
    report = scratch / f"lit{''.join(options)}.json"
    # ctest runs the unit tests.
    run([sys.executable, lit, "-v", "--filter-out", "nag-unit", "--output", report, *options, build / "test"])
    if not report.exists():
        return 0, 1, 0
    tests = json.loads(report.read_text())["tests"]
    codes = [test["code"] for test in tests if not test["name"].startswith("nag-unit")]
    passed = codes.count("PASS")
    skipped = sum(code in ("UNSUPPORTED", "SKIPPED", "EXCLUDED") for code in codes)
    return passed, len(codes) - passed - skipped, skipped


def check_roundtrip(build, scratch):
    """The lit tests of ops and passes once more, with the round trip of their inputs verified."""
    return check_lit(build, scratch, "--param", "roundtrip=1")


def check_units(build, scratch):
    report = scratch / "ctest.xml"
    run(["ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "--output-junit", report])
    return count_junit(report)


def check_python(build, scratch):
    report = scratch / "pytest.xml"
    # Files run beside one another; threads that wait give way.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    run([sys.executable, "-m", "pytest", "-q", "-rs", "--numprocesses=auto", "--dist=loadfile", f"--junitxml={report}",
         "--nag-build", build, "test"], env=environment)
    return count_junit(report)


# Sanitizers stop at what they find. LLVM's packaged libraries do not unpoison what its allocators, inlined into ours,
# have poisoned.
SANITIZER_OPTIONS = {"ASAN_OPTIONS": "allow_user_poisoning=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}

SUITES = {"format": check_format, "lit": check_lit, "roundtrip": check_roundtrip,
          "unit": check_units, "python": check_python}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda p: ROOT / p, default=ROOT / "build")
    parser.add_argument("suites", nargs="*", help=f"of {', '.join(SUITES)}; all when none is given")
    options = parser.parse_args()
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown:
        parser.error(f"expected suites of {', '.join(SUITES)}, but got {unknown[0]}")

    os.environ.update(SANITIZER_OPTIONS)
    totals = [0, 0, 0]
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="nag-check-"))
    for name in options.suites or SUITES:
        start = time.monotonic()
        counts = SUITES[name](options.build, scratch)
        totals = [total + count for total, count in zip(totals, counts)]
        print(f"{name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped in {time.monotonic() - start:.0f} s", flush=True)
    shutil.rmtree(scratch)
    print(f"{totals[0]} passed, {totals[1]} failed")
    sys.exit(1 if totals[1] or not totals[0] else 0)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every kernel of a preset's training step on the PTX machine or a GPU, beside the CPU's, one table per preset.

    python bench/cuda_parity.py [--device vm] [--chip sm_80] [--presets tiny small] [--precisions f32 bf16] [--set key=value]

From the same parameters, moments and tokens, each target computes @gradients (forward and backward pass), @accumulate and, from the
CPU's gradients, @apply (clipping, optimizer, constraints), on the machine with every check. Printed per tensor that these
write: the largest difference over the tensor's largest value. The bounds:

  f32   1e-5: both add up the same products in different orders.
  bf16  2^-8 sqrt(n), n the contractions between the loss and the tensor, forward and back: factors and results are rounded to 8
        bits, by 2^-9 at most and independently, which at each contraction adds what 2 such roundings of the whole sum are, and
        lets none of them grow: directions and norms bound the rows in between.

Last come, for sm_80 and sm_90a, the kernels, their most registers and what they spill, where ptxas is installed.
Exits with 1 when anything is out of bounds, found or spilled.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import ptx_machine  # noqa: E402
import text_data  # noqa: E402

CHIPS = ("sm_80", "sm_90a")
STEP = 3
F32_BOUND = 1e-5


def run(command, **environment):
    command = [str(part) for part in command]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr}")


class Preset:
    """A model, where its files are, and what its functions take."""

    def __init__(self, options, name, folder):
        self.nagc, self.folder, self.model = options.build / "bin" / "nagc", folder, folder / f"{name}.mlir"
        run([self.nagc, "model", "--preset", name, *(f"--set={key}" for key in options.set), "-o", self.model])
        run([self.nagc, "compile", self.model, "--emit", "mlir", "-o", folder / "cpu"])
        manifest = json.loads((folder / "cpu" / "manifest.json").read_text())
        self.parameters, self.config = manifest["parameters"], manifest["config"]
        self.functions = {function["name"]: function["arguments"] for function in manifest["functions"]}

    def call(self, function, inputs, *options, **environment):
        """What a function writes, by name; it gets of `inputs` what it reads."""
        wanted = [argument["name"] for argument in self.functions[function] if argument["access"] != "write"]
        given, out = self.folder / "in.safetensors", self.folder / "out.safetensors"
        ptx_machine.save(given, {name: inputs[name] for name in wanted})
        run([self.nagc, "run", self.model, "--differentiate", "loss", *options, "--call", f"{function}:{given}:{out}"], **environment)
        return ptx_machine.load(out)

    def contractions(self):
        """How many contractions lie between the loss and each gradient, forward and back, at most."""
        return 2 * (7 * self.config["layers"] + 1)


def device_options(options, precision):
    return "--target", "cuda", "--device", options.device, "--chip", options.chip, "--precision", precision


def initial_value(parameter, generator):
    init, shape = parameter["init"], parameter["shape"]
    kind = init["kind"]
    if kind == "normal":
        return generator.standard_normal(shape) * init["std"]
    if kind == "uniform":
        return generator.uniform(-1, 1, shape) * init["std"] * math.sqrt(3)
    if kind == "power":
        layers = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        return np.broadcast_to((init["stride"] * layers + init["offset"])**init["exponent"], shape)
    return np.full(shape, init.get("value", 0.0))


def make_inputs(preset):
    """Parameters as a run has them after some steps: no value that starts at zero is left there."""
    generator = np.random.default_rng(0)
    values = {p["name"]: initial_value(p, generator) for p in preset.parameters}
    for name, value in values.items():
        if not value.any():
            values[name] = generator.standard_normal(value.shape) * 0.02
    batch, length = preset.config["batch"], preset.config["seq"]
    train, _ = text_data.load()
    tokens, targets = text_data.random_batch(train, batch, length, generator)
    scalars = {"gate_scale": 0.7, "lr": 1e-3, "step": float(STEP), "grad_scale": 0.5, "clip": 1.0}
    moments = {}
    for name, value in values.items():
        moments["m:" + name] = generator.standard_normal(value.shape) * 1e-3
        moments["v:" + name] = generator.uniform(1e-7, 1e-6, value.shape)
        moments["acc:" + name] = generator.standard_normal(value.shape) * 1e-3
    floats = {name: np.asarray(value, np.float32) for name, value in {**values, **moments, **scalars}.items()}
    return {"tokens": tokens, "targets": targets, **floats}


def difference(value, expected):
    value, expected = value.astype(np.float64), expected.astype(np.float64)
    return np.abs(value - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny)


class Table:
    def __init__(self):
        self.good, self.rows = True, []

    def add(self, function, name, error, bound):
        self.rows.append((error / bound, function, name, error, bound))
        self.good &= error <= bound

    def show(self, title, everything):
        worst = sorted(self.rows, reverse=True)
        print(f"{title}: {len(worst)} tensors{'' if everything else ', those nearest to their bound'}")
        print(f"  {'function':<12} {'tensor':<44} {'difference':>10} {'bound':>9}")
        for ratio, function, name, error, bound in worst if everything else worst[:8]:
            print(f"  {function:<12} {name:<44} {error:10.1e} {bound:9.1e}{'  OUT OF BOUNDS' if ratio > 1 else ''}", flush=True)


def compare(preset, options, precision):
    """All functions of the step on both targets."""
    inputs, table = make_inputs(preset), Table()
    findings = preset.folder / "findings"
    findings.unlink(missing_ok=True)

    def on_device(function, arguments):
        return preset.call(function, arguments, *device_options(options, precision), NAG_PTXVM_CHECKS="all",
                           NAG_PTXVM_FINDINGS=str(findings))

    expected = preset.call("gradients", inputs)
    got = on_device("gradients", inputs)
    bound = F32_BOUND if precision == "f32" else 2.0**-8 * math.sqrt(preset.contractions())
    for name, value in expected.items():
        table.add("gradients", name, difference(got[name], value), bound)
    inputs |= {name: value for name, value in expected.items() if name.startswith("grad:")}
    # Neither adds up nor multiplies matrices in bf16.
    for function in ("accumulate", "apply"):
        ours, theirs = on_device(function, inputs), preset.call(function, inputs)
        for name, value in theirs.items():
            table.add(function, name, difference(ours[name], value), F32_BOUND)
    found = findings.read_text() if findings.exists() else ""
    return table, found


def print_resources(preset, precisions):
    """Registers and spills of all kernels; true when nothing spills."""
    spilled = 0
    for chip in CHIPS:
        for precision in precisions:
            folder = preset.folder / f"{chip}-{precision}"
            run([preset.nagc, "compile", preset.model, "--target", "cuda", "--chip", chip, "--precision", precision, "--emit", "ptx",
                 "-o", folder])
            kernels = json.loads((folder / "manifest.json").read_text())["kernels"]
            if "registers" not in kernels[0]:
                print(f"  {chip} {precision}: {len(kernels)} kernels; no ptxas")
                continue
            spills = {kernel["name"]: kernel["spill_bytes"] for kernel in kernels if kernel["spill_bytes"]}
            spilled += len(spills)
            print(f"  {chip} {precision}: {len(kernels)} kernels, at most {max(k['registers'] for k in kernels)} registers, "
                  f"spills: {spills or 'none'}", flush=True)
    return spilled == 0


def check(options, name, folder):
    preset = Preset(options, name, folder)
    good = True
    for precision in options.precisions:
        table, found = compare(preset, options, precision)
        table.show(f"\n{name} {precision}, device {options.device}, {options.chip}", options.all)
        if options.device == "vm":
            print(f"  findings: {found or 'none'}")
        good &= table.good and not found
    return print_resources(preset, options.precisions) and good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--device", default="vm", help="vm, or the number of a GPU")
    parser.add_argument("--chip", default="sm_80", choices=CHIPS)
    parser.add_argument("--presets", nargs="+", default=["tiny", "small"])
    parser.add_argument("--precisions", nargs="+", default=["f32", "bf16"], choices=["f32", "tf32", "bf16"])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the model")
    parser.add_argument("--all", action="store_true", help="print every tensor")
    options = parser.parse_args()
    good = True
    for name in options.presets:
        with tempfile.TemporaryDirectory() as folder:
            good &= check(options, name, pathlib.Path(folder))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

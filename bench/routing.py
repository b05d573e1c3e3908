# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What skipping saves on the CPU: processor time and executed FLOPs of a training step, against the dense model in the same run.

    python bench/routing.py --build build            # small at T = 512, one sequence per batch
    python bench/routing.py --json

Rates of 0, 12.5, 25 and 50 %; policies capacity (static shapes) and threshold (rows counted at run time; the thresholds
are the quantiles of the gates). Every layer is routed, so that the rate is the whole model's. Time is user time of the
process; models take turns, and a share is the median over the rounds of what a model took, against the dense one in the
same round. A second table counts, on the PTX machine (`nagc profile`), what one layer
adds to a step's passes: launches, bytes of global memory (copies that no kernel makes included), operations, for both policies, beside the bars: 1 - rate, of what is no
matter of keys and values where those are every token's (kv = all), + 5 % (bytes) and + 1 % (operations).
"""

import argparse
import itertools
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "test" / "Python"), str(ROOT / "test" / "Reference")]

import harness  # noqa: E402

RATES = (0.125, 0.25, 0.5)


def nagc(*arguments):
    return harness.run([harness.build_folder() / "bin" / "nagc", *arguments])


class Variant:
    """A compiled model, its buffers, and what its step costs."""

    def __init__(self, name, folder, settings, seq, batch):
        self.name, self.times = name, []
        folder = folder / name.replace(" ", "-").replace("%", "")
        folder.mkdir()
        model = folder / "model.mlir"
        nagc("model", "--preset", "small", *(f"--set={k}={v}" for k, v in settings.items()), f"--set=seq={seq}",
             f"--set=batch={batch}", "-o", model)
        self.cost = json.loads(nagc("flops", model, "--json"))
        self.program = harness.compile_file(model, folder / "compiled")
        self.workspace, self.buffers = None, self.allocate()

    def allocate(self):
        rng = np.random.default_rng(0)
        inits = {p["name"]: p["init"] for p in self.program.manifest["parameters"]}
        buffers = {}
        for argument in self.program.arguments("gradients"):
            buffer = argument.buffer(None)
            array = buffer.array(argument.dtype, argument.shape)
            if argument.name in ("tokens", "targets"):
                array[...] = rng.integers(0, 256, argument.shape)
            elif argument.name == "gate_scale":
                array[...] = 1.0
            elif argument.name in inits:
                array[...] = start(inits[argument.name], argument, rng)
            elif argument.read:
                array[...] = 0.0
            buffers[argument.name] = (argument, buffer)
        return buffers

    def array(self, name):
        argument, buffer = self.buffers[name]
        return buffer.array(argument.dtype, argument.shape)

    def step(self):
        self.program.invoke("gradients", [buffer.address for _, buffer in self.buffers.values()], self.workspace)

    def skip(self, rate):
        """Thresholds that let the share `rate` of every sub-layer's tokens skip, found in a few rounds."""
        for _ in range(3):
            self.step()
            gates = np.sort(np.abs(self.array("gates")).reshape(len(self.array("thresholds")), -1), axis=-1)
            self.array("thresholds")[...] = gates[:, int(rate * gates.shape[1])]
        self.step()

    def skipped(self):
        if "offsets" not in self.buffers:
            return 0.0
        return 1.0 - self.array("offsets")[:, -1].mean() / self.array("tokens").size

    def measure(self, steps):
        """In new memory, where the model is brought into the caches first: which pages it gets is worth 2 % of the time."""
        self.workspace = self.program.workspace("gradients")
        self.step()
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        for _ in range(steps):
            self.step()
        self.times.append((resource.getrusage(resource.RUSAGE_SELF).ru_utime - begin) / steps)


def start(init, argument, rng):
    """Initial values; projections that start at zero get some, so that branches are not empty."""
    shape = argument.shape
    if init["kind"] == "constant":
        return init["value"]
    if init["kind"] == "power":
        steps = init["stride"] * np.arange(shape[0]) + init["offset"]
        return (steps ** init["exponent"]).reshape(-1, *(1 for _ in shape[1:]))
    std = init.get("std") or (0.02 if len(shape) > 2 else 0.0)
    return std * rng.standard_normal(shape)


def build(folder, seq, batch, kv):
    every = dict(mod_exempt=0, mod_kv=kv)
    variants = [Variant("dense", folder, {}, seq, batch)]
    for rate in RATES:
        settings = every | dict(mod_policy="capacity", mod_rate=rate)
        variants.append(Variant(f"capacity {rate:.1%}", folder, settings, seq, batch))
    for rate in (0.0, *RATES):
        variant = Variant(f"threshold {rate:.1%}", folder, every | dict(mod_policy="threshold"), seq, batch)
        variant.skip(rate)
        variants.append(variant)
    return variants


def executed(variant):
    """FLOPs of a step's passes at the share that was skipped."""
    flops, cost = variant.cost["flops_per_step"], variant.cost["executed"]
    passes = flops["forward"] + flops["backward"]
    kept, pairs = 1.0 - variant.skipped(), cost["routed_pair_flops"]
    return passes - (cost["routed_flops"] - pairs) * (1.0 - kept) - pairs * (1.0 - kept ** 2)


def rows(variants):
    dense = variants[0]
    base = executed(dense)
    for variant in variants:
        shares = [own / other for own, other in zip(variant.times, dense.times)]
        yield dict(name=variant.name, seconds=float(np.median(variant.times)), time=float(np.median(shares)),
                   flops=executed(variant) / base, skipped=float(variant.skipped()))


MACHINE = dict(width=128, heads=4, seq=256, batch=4)
OPTIMIZER = ("adamw", "squared_norm", "constrain")
COUNTS = ("launches", "bytes_requested", "bytes_unique", "flops")


def write_machine_model(folder, layers, settings):
    model = folder / "machine.mlir"
    nagc("model", "--preset", "tiny", *(f"--set={k}={v}" for k, v in (MACHINE | dict(layers=layers) | settings).items()), "-o", model)
    return model


def count_passes(folder, precision, layers=1, rate=None, **settings):
    """Launches, bytes and operations of a step's passes on the PTX machine, and the distinct bytes of kernels named for gradients of
    weights (`weight_grads`); `rate` is for thresholds."""
    model = write_machine_model(folder, layers, settings)
    options = [] if rate is None else ["--mod-rate", rate]
    profile = json.loads(nagc("profile", model, "--precision", precision, "--json", *options))
    passes = [k for k in profile["kernels"] if not k["name"].startswith(OPTIMIZER)]
    counts = {key: sum(k[key] * (1 if key == "launches" else k["launches"]) for k in passes) for key in COUNTS}
    counts["weight_grads"] = sum(k["bytes_unique"] * k["launches"] for k in passes if "weight_grad" in k["name"])
    if "executed_shares" in profile:
        counts["executed"] = np.mean(profile["executed_shares"])
    for key in ("bytes_requested", "bytes_unique"):
        counts[key] += profile["copies"]["bytes"]
    return counts


def count_operations(folder, **settings):
    """Operations of a step's passes by the ops' cost interface."""
    flops = json.loads(nagc("flops", write_machine_model(folder, 1, settings), "--json"))["flops_per_step"]
    return flops["forward"] + flops["backward"]


def count_keys_and_values(folder, precision, one):
    """What keys and values of all tokens cost in a dense layer. Operations: twice what half as many of their heads save, by the cost
    interface. Distinct bytes: the same on the machine, and what fewer heads do not save, the rows that keys and values are made of. The
    kernel that makes the gradients of weights is counted by hand, since schedules cut its sums as they like: rows (those of keys and values,
    whose gradients are read, and one more, read, and its gradient, read and written) and weights (read, and their gradients written)."""
    half = dict(kv_heads=MACHINE["heads"] // 2)
    fewer = count_passes(folder, precision, **half)
    assert one["weight_grads"] > 0 and fewer["weight_grads"] > 0, "no kernel makes the gradients of weights"
    saved = (one["bytes_unique"] - one["weight_grads"]) - (fewer["bytes_unique"] - fewer["weight_grads"])
    row, weight = 4 * MACHINE["seq"] * MACHINE["batch"] * MACHINE["width"], 4 * MACHINE["width"] ** 2
    read_for_product = row
    gradients = (2 + 1 + 2) * row + 2 * 2 * weight
    return {"bytes_unique": 2 * saved + read_for_product + gradients,
            "flops": 2 * (count_operations(folder) - count_operations(folder, **half))}


def machine_rows(folder, precision, rates=RATES):
    """Counts of one layer's kernels on the PTX machine, against the dense layer's: what a second dense layer adds to the first, and
    what routing adds to that or saves of it. The share that a bar allows: 1 - rate, or the share of tokens that reached the thresholds (of
    those with equal scores, all or none do), but all of what keys and values cost with kv = all."""
    one, two = (count_passes(folder, precision, layers) for layers in (1, 2))
    dense = {key: two[key] - one[key] for key in COUNTS}
    parts = count_keys_and_values(folder, precision, one)
    whole = {"all": {key: part / dense[key] for key, part in parts.items()}, "routed": dict.fromkeys(parts, 0.0)}
    yield dict(name="dense", rate=0.0, launches=dense["launches"], more_per_sub_layer=0.0,
               **{key: dict(share=1.0, bar=1.0) for key in COUNTS[1:]})
    measure = dict(bytes_requested="bytes_unique", bytes_unique="bytes_unique", flops="flops")
    for policy, kv, rate in itertools.product(("capacity", "threshold"), ("all", "routed"), rates):
        settings = dict(mod_exempt=0, mod_kv=kv, mod_policy=policy, mod_rate=rate)
        at = dict(rate=rate) if policy == "threshold" else {}
        routed = count_passes(folder, precision, **settings, **at)
        counts = {key: dense[key] + routed[key] - one[key] for key in COUNTS}
        executed = routed.get("executed", 1.0 - rate)
        kept = {key: executed + (1.0 - executed) * whole[kv][part] for key, part in measure.items()}
        yield dict(name=f"{policy} {rate:.1%}, kv {kv}", rate=rate, launches=counts["launches"],
                   more_per_sub_layer=(counts["launches"] - dense["launches"]) / 2,
                   **{key: dict(share=counts[key] / dense[key], bar=kept[key]) for key in COUNTS[1:]})


def show_machine(table, precision):
    sizes = ", ".join(f"{key} {value}" for key, value in MACHINE.items())
    print(f"one layer's passes on the PTX machine ({precision}; {sizes}), against the dense layer's in the same run; the bars are what is kept,")
    print("1 - rate, or with kv = all that and the rest of what keys and values cost; + 5 % of bytes, + 1 % of operations")
    heads = "".join(f" {name:>10} {'bar':>6}" for name in ("requested", "unique", "operations"))
    print(f"{'':24} {'launches':>8} {'more per sub-layer':>18}{heads}")
    for row in table:
        figures = "".join(f" {row[key]['share']:10.3f} {row[key]['bar'] + more:6.3f}" for key, more in zip(COUNTS[1:], (0.05, 0.05, 0.01)))
        print(f"{row['name']:24} {row['launches']:8} {row['more_per_sub_layer']:18.2f}{figures}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build"))
    parser.add_argument("--seq", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--kv", choices=["all", "routed"], default="all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads that wait for others take processor time too")
    parser.add_argument("--machine-only", action="store_true", help="leave the CPU out")
    parser.add_argument("--no-machine", action="store_true", help="leave the PTX machine out")
    parser.add_argument("--machine-batch", type=int, default=MACHINE["batch"], help="sequences on the PTX machine")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="of products on the PTX machine")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    MACHINE["batch"] = options.machine_batch
    os.environ.update(NAG_BUILD=options.build, OMP_NUM_THREADS=str(options.threads))
    with tempfile.TemporaryDirectory() as folder:
        variants = [] if options.machine_only else build(Path(folder), options.seq, options.batch, options.kv)
        for _ in range(options.rounds):
            for variant in variants:
                variant.measure(options.steps)
        table = list(rows(variants)) if variants else []
        machine = [] if options.no_machine else list(machine_rows(Path(folder), options.precision))
    if options.json:
        print(json.dumps({"cpu": table, "machine": machine}, indent=1))
        return
    if table:
        show_cpu(table, options)
    if machine:
        show_machine(machine, options.precision)


def show_cpu(table, options):
    print(f"small, T = {options.seq}, batch {options.batch}, kv = {options.kv}; against dense in the same run")
    print(f"{'':18} {'skipped':>8} {'ms/step':>9} {'time':>6} {'FLOPs':>6}")
    for row in table:
        print(f"{row['name']:18} {row['skipped']:8.3f} {1e3 * row['seconds']:9.1f} {row['time']:6.3f} {row['flops']:6.3f}")


if __name__ == "__main__":
    main()

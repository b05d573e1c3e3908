# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Training steps on a GPU: nagc in bf16 against PyTorch (torch.compile, autocast to bf16), same model and batch, in one run.

    python bench/gpu_step.py [--presets small] [--set key=value] [--residual nag prenorm] [--device 0]

Prints one JSON line per model: milliseconds of a step (median), tokens per second, and `speed_ratio`, which above 1 is in
nagc's favour. A step is forward and backward pass, clipping and AdamW; nagc's is that of `nagc profile --device`, constraints
included, PyTorch's is eager around compiled layers. Needs a torch that sees the GPU.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))

WARM_UPS, STEPS = 5, 20


def measure_nagc(options, preset, residual):
    nagc = options.build / "bin" / "nagc"
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder, "model.mlir")
        subprocess.run([nagc, "model", "--preset", preset, "--residual", residual, *(f"--set={s}" for s in options.set), "-o", model],
                       check=True)
        command = [nagc, "profile", model, "--device", options.device, "--chip", options.chip, "--precision", "bf16", "--json"]
        if options.schedule:
            command += ["--schedule", options.schedule]
        profile = json.loads(subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE).stdout)
    return profile["totals"]["step_seconds"]


def configuration(options, preset, residual):
    from nag_reference.config import PRESETS, configure

    settings = dict(setting.split("=") for setting in options.set)
    typed = {key: type(getattr(PRESETS[preset], key))(value) for key, value in settings.items()}
    return configure(preset, residual=residual, **typed)


def measure_torch(config, device):
    """Seconds of a step, and peak memory in bytes."""
    import torch
    import torch_model

    torch.set_float32_matmul_precision("high")
    torch._dynamo.reset()
    with torch.device(f"cuda:{device}"):
        model = torch_model.Transformer(config)
        optimizer = torch_model.make_optimizer(model, 1e-3)
        batch = [torch.randint(config.vocab, (config.batch, config.seq)) for _ in range(2)]
    times = []
    for step in range(WARM_UPS + STEPS):
        torch.cuda.synchronize()
        start = time.perf_counter()
        model(*batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    times = sorted(times[WARM_UPS:])
    return times[len(times) // 2], torch.cuda.max_memory_allocated()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda path: ROOT / path, default=ROOT / "build")
    parser.add_argument("--presets", nargs="+", default=["small"], choices=["tiny", "small"])
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="of the model, for all presets")
    parser.add_argument("--residual", nargs="+", choices=["nag", "prenorm"], default=["nag", "prenorm"])
    parser.add_argument("--device", default="0", help="number of the GPU")
    parser.add_argument("--chip", default="sm_90a", choices=["sm_80", "sm_90a"])
    parser.add_argument("--schedule", help="a file of nagc tune")
    options = parser.parse_args()
    import torch_model  # noqa: F401: fails early where torch is missing

    for preset in options.presets:
        for residual in options.residual:
            config = configuration(options, preset, residual)
            ours = measure_nagc(options, preset, residual)
            theirs, memory = measure_torch(config, options.device)
            tokens = config.batch * config.seq
            print(json.dumps({
                "model": " ".join([preset, residual, *options.set]),
                "nagc": {"step_ms": round(1e3 * ours, 3), "tokens_per_s": round(tokens / ours)},
                "torch": {"step_ms": round(1e3 * theirs, 3), "tokens_per_s": round(tokens / theirs),
                          "peak_mb": round(memory / 1e6)},
                "speed_ratio": round(theirs / ours, 3)}), flush=True)


if __name__ == "__main__":
    main()

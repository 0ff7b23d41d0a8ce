"""Cost of observing: the scan's model pass over a bare loop, on the same prepared batches, interleaved.

    python benchmarks/overhead.py [--items 1024] [--rounds 7] [--depth]

A torchvision resnet18 at 64×64 (d = 512) by default. The bare loop is `for batch: model(batch)` in inference
mode. The pass of the scan adds hooks, hashes, sums over embeddings and inputs, and the reservoir; with `--depth` also
what is kept of all layers for the first 512 items, which is bounded whatever the number of items. Prints the ratio of
each pair of runs, its median, and the time of the read-out (spectra, intervals, neighbours) apart.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# This folder has a statistics.py, which would hide the one of the standard library from torch.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from collapsecheck.models.readout import Readout
from collapsecheck.observe import Observations
from collapsecheck.observe.forward import Forward, choose_device, extract
from collapsecheck.observe.probe import ProbeTaker


@dataclass
class Prepared:
    """One batch in memory."""

    indices: Tensor
    inputs: Tensor
    labels: Tensor | None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--depth", action="store_true")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = choose_device(arguments.device)
    model = torchvision.models.get_model(arguments.arch, weights=None).eval().to(device)
    last = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
    readout = Readout(model, layer=last, where="input", reason="the input of the classifier")
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    batches = [
        Prepared(
            torch.arange(start, start + arguments.batch),
            torch.rand(shape).pin_memory() if device.type == "cuda" else torch.rand(shape),
            None,
        )
        for start in range(0, arguments.items, arguments.batch)
    ]
    bare(model, batches, device)
    scan_pass(readout, batches, device, arguments.depth)
    ratios, finishing = [], []
    for _ in range(arguments.rounds):
        without = bare(model, batches, device)
        observed, finish = scan_pass(readout, batches, device, arguments.depth)
        ratios.append(observed / without)
        finishing.append(finish)
        print(f"bare {without:.3f} s, scan's pass {observed:.3f} s, ratio {ratios[-1]:.3f}, read-out {finish:.3f} s")
    print(
        f"{arguments.arch} at {arguments.size}×{arguments.size}, {arguments.items} items, {device}, "
        f"torch {torch.__version__}, {os.cpu_count()} cores"
    )
    print(f"overhead ratio: median {np.median(ratios):.3f}, min {min(ratios):.3f}, max {max(ratios):.3f}")
    print(f"read-out, once per scan: median {np.median(finishing):.2f} s")


def bare(model: nn.Module, batches: list[Prepared], device: torch.device) -> float:
    """Seconds of the plain loop."""
    begin = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            model(batch.inputs.to(device, non_blocking=True))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def scan_pass(readout: Readout, batches: list[Prepared], device: torch.device, in_depth: bool) -> tuple[float, float]:
    """Seconds of the scan's pass, and of reading all metrics out of the sums afterwards."""
    begin = time.perf_counter()
    forward = Forward(readout, device)
    taken = ProbeTaker(forward, readout).through(batches) if in_depth else batches
    embeddings, inputs = extract(forward, taken)
    if device.type == "cuda":
        torch.cuda.synchronize()
    middle = time.perf_counter()
    _ = Observations(embeddings=embeddings, inputs=inputs, items=len(batches)).measurements
    return middle - begin, time.perf_counter() - middle


if __name__ == "__main__":
    main()

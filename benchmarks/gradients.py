"""What the gradient probe costs: seconds over those of one forward pass over the same batch, in pairs.

    python benchmarks/gradients.py [--repeats 9] [--models resnet18 …] [--size 64] [--device cpu]

The pass is that of a scan without listeners (inference mode). The probe is all of `gradients_of`: copy, forward and
backward, Jacobian-vector products, gradients of single items. The first pair of each model is not counted. The bound
is 4. Then, once for each model: whether weights, buffers, gradients, hooks and random states are bit-equal.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import numpy as np
import torch
import torchvision

from collapsecheck.models.readout import Readout
from collapsecheck.objectives import stated
from collapsecheck.observe.gradient_probe import gradients_of
from collapsecheck.observe.gradients import ITEMS
from collapsecheck.observe.probe import Probe, ProbeBatch
from tests.observe.untouched import snapshot

BOUND = 4.0
MODELS = ("resnet18", "resnet50", "vgg11_bn", "mobilenet_v3_small", "densenet121", "vit_b_16")


def probe_of(name: str, size: int, device: torch.device) -> Probe:
    """Random pictures for a torchvision model with random weights."""
    options = {"image_size": size} if name.startswith("vit") else {}
    model = torchvision.models.get_model(name, weights=None, **options).eval().to(device)
    if name.startswith("vit"):
        torch.nn.init.normal_(model.heads.head.weight, std=0.02)  # torchvision begins at zero
    pictures = torch.randn(ITEMS, 3, size, size)
    batch = ProbeBatch(inputs=pictures, indices=torch.arange(ITEMS), labels=torch.arange(ITEMS) % 8)
    return Probe(readout=Readout(model, reason=""), batches=[batch], device=device)


def timed(function: object) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    function()  # type: ignore[operator]
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--loss", help="a stated loss, which needs gradients of all items; labels are random")
    options = parser.parse_args()

    device = torch.device(options.device)
    objective = stated(options.loss) if options.loss else None
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {ITEMS} pictures of {options.size}")
    print(f"{'model':22}{'forward ms':>11}{'ratio':>8}{'lowest':>8}{'highest':>9}  untouched")
    worst = 0.0
    for name in options.models:
        probe = probe_of(name, options.size, device)
        before = snapshot(probe.module)
        ratios, passes = [], []
        for repeat in range(options.repeats + 1):
            forward = timed(lambda probe=probe: probe.afresh().embeddings)
            backward = timed(lambda probe=probe: gradients_of(probe, objective))
            if repeat:
                ratios.append(backward / forward)
                passes.append(forward)
        middle = np.median(ratios)
        worst = max(worst, middle)
        same = "yes" if snapshot(probe.module) == before else "NO"
        print(
            f"{name:22}{1e3 * np.median(passes):11.0f}{middle:8.2f}{min(ratios):8.2f}{max(ratios):9.2f}  {same}",
            flush=True,
        )
    print(f"worst median {worst:.2f}, bound {BOUND:g}")


if __name__ == "__main__":
    main()

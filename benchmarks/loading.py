"""Peak memory and time of loading a checkpoint, as a multiple of its size.

    python benchmarks/loading.py [--arch vit_l_16]

Writes the weights of a torchvision architecture (vit_l_16: 1.2 GB) in each format, bare and within a training
checkpoint, and loads each in a process of its own. `load` is the peak of the resident memory while `load_model`
runs, over what was resident before (torch imported, a small model loaded already, so that code is not counted);
`and run` goes on with a forward pass of one image, which touches all weights. Both are divided by the file's size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# As a script, this folder's statistics.py would hide the one of the standard library.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import torch
import torchvision
from safetensors.torch import save_file

from collapsecheck.models import load_model
from collapsecheck.models.uninitialised import uninitialised

BOUND = 1.15


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", default="vit_l_16")
    parser.add_argument("--load", type=Path, help="internal: load this file and print what it took")
    parser.add_argument("--warm-up", type=Path, help="internal: a small file to load first")
    arguments = parser.parse_args()
    if arguments.load:
        print(json.dumps(measured(arguments.load, arguments.warm_up, arguments.arch)))
        return
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.pt"
        torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), small)
        with uninitialised():
            weights = torchvision.models.get_model(arguments.arch, weights=None).state_dict()
        worst = 0.0
        for name, write in written(weights):
            path = Path(folder) / f"{name}.pt"
            write(path)
            command = [sys.executable, __file__, "--load", path, "--warm-up", small, "--arch", arguments.arch]
            run = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
            found = json.loads(run.stdout)
            size = path.stat().st_size
            print(
                f"{name:<22} {size / 2**20:7.0f} MiB  load {found['load'] / size:.3f} of it in {found['seconds']:.2f} s"
                f"   and run {found['run'] / size:.3f}"
            )
            worst = max(worst, found["load"] / size, found["run"] / size)
            path.unlink()
    print(f"{arguments.arch}, torch {torch.__version__}: worst {worst:.3f}, bound {BOUND}")


def written(weights: dict[str, torch.Tensor]) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield each format by name, and what writes it."""
    yield "torch zip", lambda path: torch.save(weights, path)
    yield "torch zip, nested", lambda path: torch.save({"epoch": 3, "model": {**weights}, "note": "x"}, path)
    yield "torch legacy", lambda path: torch.save(weights, path, _use_new_zipfile_serialization=False)
    yield "safetensors", lambda path: save_file({name: tensor.clone() for name, tensor in weights.items()}, path)


def measured(path: Path, warm_up: Path, arch: str) -> dict[str, float]:
    """Bytes of memory that loading, and loading and running, take at their peak; seconds of the loading."""
    with torch.inference_mode():
        load_model(warm_up, arch="squeezenet1_1").module(torch.zeros(1, 3, 224, 224))
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        start = time.perf_counter()
        loaded = load_model(path, arch=arch)
        seconds, load = time.perf_counter() - start, resident("VmHWM") - before
        loaded.module(torch.zeros(1, 3, 224, 224))
        return {"seconds": seconds, "load": load, "run": resident("VmHWM") - before}


def resident(field: str) -> int:
    """Bytes of resident memory now (VmRSS) or at the peak (VmHWM); Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


if __name__ == "__main__":
    main()

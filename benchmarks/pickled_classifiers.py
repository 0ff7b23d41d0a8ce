"""Every classifier of torchvision, pickled whole: does it load as data, with the same outputs.

    python benchmarks/pickled_classifiers.py [NAME ...]

Each builder runs with random weights (`weights=None`), batch statistics are made unlike their initial values, and the
module is written with `torch.save(model)`. It is then loaded without `--trust-checkpoint`, and both models run on two
images of the smallest size that the architecture takes. `same` means bit by bit. One model at a time is in memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

# As a script, this folder's statistics.py would hide the one of the standard library.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import torch
import torchvision.models
from torch import nn

from collapsecheck.errors import NotLoadableError
from collapsecheck.models import load_model

SIZES = (64, 75, 96, 128, 224, 256, 299, 384, 518)


def main() -> int:
    """Try each, and print a line about it; the exit code says whether all are as they should be."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--legacy", action="store_true", help="write the format of torch before 1.6")
    parser.add_argument("--one", action="store_true", help="internal: in this process")
    arguments = parser.parse_args()
    if arguments.one:
        start = time.perf_counter()
        outcome, size = tried(arguments.names[0], arguments.legacy)
        print(f"{size / 2**20:7.1f} MiB {time.perf_counter() - start:6.1f} s  {outcome}")
        return 0
    known = torchvision.models.list_models(module=torchvision.models)
    known += torchvision.models.list_models(module=torchvision.models.quantization)
    counts: dict[str, int] = {}
    begin = time.perf_counter()
    for name in arguments.names or known:
        command = [sys.executable, __file__, name, "--one", *(["--legacy"] if arguments.legacy else [])]
        run = subprocess.run(command, capture_output=True, text=True, check=False)  # its memory ends with it
        line = (run.stdout or run.stderr or f"  0 MiB  0 s  failed: {run.returncode}").splitlines()[-1]
        kind = line.partition(" s  ")[2].partition(":")[0] or "failed"
        counts[kind] = counts.get(kind, 0) + 1
        print(f"{name:<32} {line}", flush=True)
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    print(f"{versions}: {counts}, {time.perf_counter() - begin:.0f} s")
    return 0 if set(counts) <= {"same"} else 1


def tried(name: str, legacy: bool) -> tuple[str, int]:
    """Say what became of one architecture, and how large its file was in bytes."""
    torch.manual_seed(0)
    options = {"init_weights": False} if "googlenet" in name or "inception" in name else {}
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.normal_(std=0.1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt"
        torch.save(model, path, _use_new_zipfile_serialization=not legacy)
        size = path.stat().st_size
        images, expected = first_output(model)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        del model
        try:
            loaded = load_model(path)
        except NotLoadableError as error:
            return f"refused: {error}", size
        with torch.inference_mode():
            got = loaded.module(images)
        own = loaded.module.state_dict()
        if loaded.architecture.trust != "known-classes":
            return f"other: came as {loaded.architecture.trust}", size
        if list(own) != list(before) or not all(torch.equal(own[key], before[key]) for key in before):
            return "different: other weights", size
        if not torch.equal(got, expected):
            return f"different: outputs by up to {(got - expected).abs().max():.2g}", size
        return f"same: {tuple(images.shape[2:])} -> {tuple(got.shape)}", size


def first_output(model: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of the smallest size that the model takes, and what it gives for them."""
    for side in SIZES:
        images = torch.randn(2, 3, side, side)
        try:
            with torch.inference_mode():
                return images, model(images)
        except (RuntimeError, AssertionError, ValueError):
            continue
    raise ValueError(f"takes none of the sizes {SIZES}")


if __name__ == "__main__":
    sys.exit(main())

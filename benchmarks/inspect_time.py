"""Seconds that `collapsecheck inspect` takes on a 1 GB checkpoint, beyond the start of the command.

    python benchmarks/inspect_time.py [--gigabytes 1]

Writes files of zeros: a training checkpoint of 400 weights and Adam's moments as a torch zip; bare weights as a legacy
torch file; and, with a hole in place of the numbers, as safetensors. Prints the fastest of five runs of each, with and
without `--architecture`, less the fastest of `collapsecheck --version`; and how much of the file was read.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# As a script, this folder's statistics.py would hide the one of the standard library.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import torch

TENSORS = 400
RUNS = 5
READ_AND_PRINT = """
import sys
from collapsecheck.cli.entry import run
code = run(["inspect", sys.argv[1], "--no-architecture", "--output", sys.argv[2]])
fields = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(code, fields["rchar"], peak, "torch" in sys.modules)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    gigabytes = parser.parse_args().gigabytes
    start = fastest(["--version"])
    print(f"collapsecheck --version    {start:.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("torch zip", torch_zip), ("torch legacy", torch_legacy), ("safetensors", safetensors)):
            path = Path(folder) / name.replace(" ", "-")
            write(path, int(gigabytes * 1e9))
            without = fastest(["inspect", str(path), "--no-architecture"])
            whole = fastest(["inspect", str(path)])
            code, read, peak, torch_imported = traced(path, Path(folder) / "out.txt")
            print(
                f"{name:<13} {path.stat().st_size / 1e9:.2f} GB   {without - start:+.2f} s beyond start-up "
                f"({without / start:.1f} times it)   with the architecture {whole - start:+.2f} s   "
                f"exit {code}, {read / 1e6:.1f} MB read, peak {peak / 1e3:.0f} MB, torch imported: {torch_imported}"
            )
            path.unlink()


def fastest(arguments: list[str]) -> float:
    """Seconds of the fastest run of a command."""
    seconds = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "collapsecheck", *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def traced(path: Path, output: Path) -> tuple[int, int, int, str]:
    """Exit code, bytes read (all of Python's own files among them), peak memory in KiB, whether torch was imported."""
    run = subprocess.run(
        [sys.executable, "-c", READ_AND_PRINT, str(path), str(output)], check=True, capture_output=True, text=True
    )
    code, read, peak, torch_imported = run.stdout.split()
    return int(code), int(read), int(peak), torch_imported


def weights(size: int) -> dict[str, torch.Tensor]:
    """Zeros that take no memory before they are touched."""
    side = int((size / 4 / TENSORS) ** 0.5)
    return {f"blocks.{n}.linear.weight": torch.zeros(side, side) for n in range(TENSORS)}


def torch_zip(path: Path, size: int) -> None:
    """A training checkpoint: a third are weights, the others moments."""
    model = weights(size // 3)
    state = {
        n: {"step": torch.tensor(10.0), "exp_avg": torch.zeros_like(one), "exp_avg_sq": torch.zeros_like(one)}
        for n, one in enumerate(model.values())
    }
    group = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "params": list(state)}
    content = {"model": model, "optimizer": {"state": state, "param_groups": [group]}, "epoch": 3}
    torch.save(content, path)


def torch_legacy(path: Path, size: int) -> None:
    """A bare state dict."""
    torch.save(weights(size), path, _use_new_zipfile_serialization=False)


def safetensors(path: Path, size: int) -> None:
    """A header, and a hole."""
    header, end = {}, 0
    for name, one in weights(size).items():
        header[name] = {"dtype": "F32", "shape": list(one.shape), "data_offsets": [end, end + one.nbytes]}
        end += one.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


if __name__ == "__main__":
    main()

"""Throughput and memory of the streaming statistics.

    python benchmarks/statistics.py [--dimension 512] [--rounds 7]

Throughput: rows per second of the streaming pass over rows per second of its two bare matrix products, XᵀX of
the raw rows and UᵀU of the unit rows, in float64 and the same library (numpy), interleaved. The products are formed
of 4096 rows at a time, which is their best case; the pass forms them of about 2048 (`--product 2048`).
Memory: peak resident memory of a process that streams 100,000 and 1,000,000 rows made on the fly.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

# As a script this file would hide the module of the same name in the standard library.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np

from collapsecheck.observe.summary import EmbeddingSummary

CHUNK = 256  # rows per batch, as a scan delivers them
PRODUCT = 4096  # rows per bare product


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--product", type=int, default=PRODUCT)
    parser.add_argument("--memory-of", type=int, help="internal: stream so many rows and print the peak memory")
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(peak_memory(arguments.memory_of, arguments.dimension))
        return
    throughput(arguments.rows, arguments.dimension, arguments.rounds, arguments.product)
    small, large = (in_a_process(rows, arguments.dimension) for rows in (100_000, 1_000_000))
    print(f"peak memory: {small:.1f} MiB at N = 100,000, {large:.1f} MiB at N = 1,000,000, ratio {large / small:.3f}")


def throughput(count: int, dimension: int, rounds: int, size: int) -> None:
    """Interleave the two passes and print their ratio."""
    rows = np.random.default_rng(0).standard_normal((count, dimension)).astype(np.float32)
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    ratios = []
    for turn in range(rounds + 1):
        bare, ours = products(rows, unit, size), streaming(rows)
        if turn:  # the first is a warm-up
            ratios.append(ours / bare)
            print(f"bare products {bare:,.0f} rows/s, streaming pass {ours:,.0f} rows/s, ratio {ours / bare:.3f}")
    print(f"n = {count:,}, d = {dimension}, products of {size} rows, numpy {np.__version__}, {os.cpu_count()} cores")
    print(f"throughput ratio: median {np.median(ratios):.3f}, min {min(ratios):.3f}, max {max(ratios):.3f}")


def products(rows: np.ndarray, unit: np.ndarray, size: int) -> float:
    """Rows per second of XᵀX and UᵀU alone."""
    sums = [np.zeros((rows.shape[1], rows.shape[1])) for _ in range(2)]
    begin = time.perf_counter()
    for start in range(0, len(rows), size):
        for place, source in enumerate((rows, unit)):
            part = source[start : start + size].astype(np.float64)
            sums[place] += part.T @ part
    return len(rows) / (time.perf_counter() - begin)


def streaming(rows: np.ndarray) -> float:
    """Rows per second of everything that is kept of the embeddings."""
    begin = time.perf_counter()
    summary = EmbeddingSummary(rows.shape[1])
    for start in range(0, len(rows), CHUNK):
        summary.update(rows[start : start + CHUNK])
    summary.flush()
    return len(rows) / (time.perf_counter() - begin)


def peak_memory(count: int, dimension: int) -> float:
    """Peak resident memory in MiB after streaming `count` rows."""
    random = np.random.default_rng(0)
    summary = EmbeddingSummary(dimension)
    for _ in range(0, count, 1000):
        summary.update(random.standard_normal((1000, dimension), dtype=np.float32))
    summary.flush()
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would inherit the peak of the parent process on Linux
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(count: int, dimension: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", str(count), "--dimension", str(dimension)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()

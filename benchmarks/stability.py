"""Does the verdict depend on which half of the data was scanned? A gate that flaps is worthless.

    python benchmarks/stability.py [--draws 200] [--data FOLDER]

Embeds the digits with every sample model once, then judges `--draws` random halves of them, and counts the
statuses. Exits with 1 when a sample model gets more than one status and not every minority verdict calls itself
borderline.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

# This folder has a statistics.py, which would hide the one of the standard library.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np

from collapsecheck.examination import examine
from collapsecheck.observe import observe_arrays
from collapsecheck.verdict import Verdict, judge
from collapsecheck.version import __version__

SAMPLES = Path(__file__).resolve().parent.parent / "sample_models"


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--checkpoints", type=Path, default=SAMPLES / "checkpoints")
    arguments = parser.parse_args()
    flapping = 0
    for checkpoint in sorted(arguments.checkpoints.glob("*.pt")):
        embeddings, inputs, labels = embed(checkpoint)
        verdicts = [half(embeddings, inputs, labels, seed) for seed in range(arguments.draws)]
        counts = Counter(f"{verdict.status} {verdict.kind or ''}".strip() for verdict in verdicts)
        unsure = sum(bool(verdict.borderline) for verdict in verdicts)
        usual = Counter(verdict.status for verdict in verdicts).most_common(1)[0][0]
        flapping += sum(verdict.status != usual and not verdict.borderline for verdict in verdicts)
        shown = ", ".join(f"{name} × {count}" for name, count in counts.most_common())
        print(f"{checkpoint.stem:<14} {shown}; borderline in {unsure} of {arguments.draws}")
    print(f"collapsecheck {__version__}: {flapping} verdicts flapped")
    sys.exit(bool(flapping))


def embed(checkpoint: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, inputs and labels of all digits."""
    from collapsecheck.datasets import Batches, TransformOptions, choose_preprocessing, open_items
    from collapsecheck.models import choose_readout, expected_input, load_model
    from collapsecheck.observe.forward import Forward, choose_device

    loaded = load_model(checkpoint, model_def=f"{SAMPLES / 'networks.py'}:{checkpoint.stem}")
    readout = choose_readout(loaded)
    items = open_items(SAMPLES / "digits")
    batches = Batches(items, choose_preprocessing(items, expected_input(loaded), TransformOptions()))
    forward = Forward(readout, choose_device("cpu"))
    with readout.attached():
        parts = [(forward(batch.inputs).numpy(), batch.inputs.numpy()) for batch in batches]
    assert items.labels is not None
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([x for _, x in parts]), items.labels


def half(embeddings: np.ndarray, inputs: np.ndarray, labels: np.ndarray, seed: int) -> Verdict:
    """Judge a random half."""
    chosen = np.random.default_rng(seed).permutation(len(embeddings))[: len(embeddings) // 2]
    seen = observe_arrays(embeddings[chosen], inputs=inputs[chosen], labels=labels[chosen], seed=seed)
    return judge(seen, examine(seen))


if __name__ == "__main__":
    main()

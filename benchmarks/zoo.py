"""Many small models, most sound, many broken, to calibrate false alarms and misses.

    python benchmarks/zoo.py --seed 0 --cache FOLDER [--only healthy/conv]

Each is trained in seconds on real data (scikit-learn's digits, tables and photographs, and letters drawn with
Pillow's font). A sound model is kept only if its neighbours tell the truth (k-NN by cosine well above chance),
so that what it should be called does not rest on the statistics under test. Results are cached by name and
seed: empty the folder after changing a recipe. The list shows score (0 chance, 1 perfect), mean cosine, spread
and effective rank of the unit rows; what did not come out as intended is listed as dropped and not yielded.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import numpy as np
import torch

from benchmarks.zoo_parts import faulty, healthy
from benchmarks.zoo_parts.recipes import Recipe, numbers


@dataclass(frozen=True)
class Case:
    """One model's embeddings, and what a verdict on them may be.

    `expected` holds all acceptable statuses, `kind` the kind of collapse where there is only one right answer.
    """

    name: str
    expected: frozenset[str]
    kind: str | None
    embeddings: np.ndarray
    inputs: np.ndarray
    labels: np.ndarray | None
    score: float | None = None


def zoo(seed: int, cache: Path | None = None, only: str = "") -> Iterator[Case]:
    """All cases of one seed that came out as intended, in a fixed order; `only` takes names that contain it."""
    for recipe in all_recipes():
        if only in recipe.name:
            case, intended = made(recipe, seed, cache)
            if intended:
                yield case


def all_recipes() -> list[Recipe]:
    """Healthy ones first."""
    found = [*healthy.recipes(), *faulty.recipes()]
    assert len({recipe.name for recipe in found}) == len(found), "two recipes share a name"
    return found


def made(recipe: Recipe, seed: int, cache: Path | None) -> tuple[Case, bool]:
    """The case, from the cache where it is there, and whether it came out as intended."""
    path = cache / f"{seed}-{recipe.name.replace('/', '-')}.npz" if cache else None
    if path and path.exists():
        stored = dict(np.load(path))
    else:
        # One thread and deterministic kernels: a seed gives the same zoo again.
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        sample = recipe.make(seed)
        stored = {"embeddings": sample.embeddings.float().numpy(), "inputs": sample.inputs.numpy()}
        if sample.labels is not None:
            stored["labels"] = sample.labels.numpy()
        if sample.score is not None:
            stored["score"] = np.float64(sample.score)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, **stored)
    score = float(stored["score"]) if "score" in stored else None
    case = Case(
        recipe.name, recipe.expected, recipe.kind, stored["embeddings"], stored["inputs"], stored.get("labels"), score
    )
    return case, score is None or recipe.kept(score)


def main() -> None:
    """List the zoo of one seed."""
    parser = argparse.ArgumentParser(description="List the zoo of one seed.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="folder to keep results in")
    parser.add_argument("--only", default="", help="names that contain this")
    options = parser.parse_args()

    print(f"{'name':44}{'n':>6}{'d':>5}{'labels':>7}{'score':>7}{'cosine':>9}{'spread':>9}{'rank':>7}  expected")
    counts: Counter[str] = Counter()
    for recipe in all_recipes():
        if options.only not in recipe.name:
            continue
        case, intended = made(recipe, options.seed, options.cache)
        counts[recipe.name.partition("/")[0] if intended else "dropped"] += 1
        n, d = case.embeddings.shape
        score = "-" if case.score is None else f"{case.score:.2f}"
        shown = numbers(case.embeddings)
        verdict = "|".join(sorted(case.expected)) + (f" ({case.kind})" if case.kind else "")
        print(
            f"{case.name:44}{n:6}{d:5}{'no' if case.labels is None else 'yes':>7}{score:>7}"
            f"{shown['cosine']:9.4f}{shown['spread']:9.2g}{shown['rank']:7.1f}  {verdict if intended else 'DROPPED'}",
            flush=True,
        )
    print(", ".join(f"{number} {name}" for name, number in counts.items()))


if __name__ == "__main__":
    main()

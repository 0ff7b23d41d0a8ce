"""False alarms and misses on many varied small models.

    python benchmarks/calibration.py --cache FOLDER [--seeds 0 1 2] [--without-labels] [--all]

Every case of the zoo (sound and broken networks of many architectures, objectives, widths and sample sizes, trained
on real data) is judged, with its labels and, with `--without-labels`, without them too. Prints every case whose
status or kind is not among the acceptable ones, and the counts. Exits with 1 on a false alarm.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

# This folder has a statistics.py, which would hide the one of the standard library.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.zoo import Case, zoo
from collapsecheck.examination import examine
from collapsecheck.observe import Observations, observe_arrays
from collapsecheck.verdict import Verdict, judge


def main() -> None:
    """Judge, compare and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--without-labels", action="store_true")
    parser.add_argument("--all", action="store_true", help="print every case, not only the wrong ones")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    for seed in arguments.seeds:
        for case in zoo(seed, arguments.cache, arguments.only):
            twice = arguments.without_labels and case.labels is not None
            for labels in (case.labels, None) if twice else (case.labels,):
                seen = observed(case, labels)
                verdict = judge(seen, examine(seen))
                outcome = compare(case, verdict)
                counts[outcome] += 1
                counts["cases"] += 1
                if arguments.all or outcome != "right":
                    print(line(seed, case, outcome, verdict, seen), flush=True)
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    sys.exit(bool(counts["FALSE ALARM"]))


def observed(case: Case, labels: np.ndarray | None) -> Observations:
    """Observations of one case."""
    return observe_arrays(
        case.embeddings, inputs=case.inputs, labels=None if labels is None else labels.astype(np.int64)
    )


def compare(case: Case, verdict: Verdict) -> str:
    """`right`, `FALSE ALARM` (a sound model accused), `miss` (a broken one passed), `status` or `kind`."""
    if verdict.status not in case.expected:
        if case.expected == {"healthy"}:
            return "FALSE ALARM"
        return "miss" if verdict.status == "healthy" else "status"
    if case.kind and verdict.status in ("collapsed", "degraded") and verdict.kind != case.kind:
        return "kind"
    return "right"


def line(seed: int, case: Case, outcome: str, verdict: Verdict, seen: Observations) -> str:
    """One case in one line, with the numbers that decide."""
    m = {name: item.value for name, item in seen.measurements.items()}
    n, d = case.embeddings.shape
    shown = " ".join(
        f"{short}={m[name]:.3g}"
        for short, name in (
            ("cos", "mean_cosine"),
            ("std", "cosine_std"),
            ("spread", "unit_spread"),
            ("rank", "unit_effective_rank"),
            ("live", "live_directions"),
            ("nn", "nearest_neighbour_ratio"),
            ("groups", "tight_groups"),
            ("eta", "between_class_share"),
            ("ncc", "nearest_centre_accuracy"),
            ("in_rank", "input_effective_rank"),
            ("norm", "norm_median"),
            ("dead", "dead_dimensions"),
        )
        if name in m
    )
    wanted = "|".join(sorted(case.expected)) + (f" {case.kind}" if case.kind else "")
    given = f"{verdict.status} {verdict.kind or ''}".strip()
    labelled = seen.sample.labels is not None
    return f"{outcome:<11} {seed} {case.name} n={n} d={d} labels={labelled}: {given}, wanted {wanted} | {shown}"


if __name__ == "__main__":
    main()

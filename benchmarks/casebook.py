"""Reports of real projects, replayed from their description on small models, and what a scan makes of them.

    python benchmarks/casebook.py [--only triplet] [--cache FOLDER]

Each case is one public thread, rebuilt in a few lines on handwritten digits and scanned from disk. `named`: a right
cause is on top, confirmed or likely. `guessed`: it is on top as untested. `sound`: nothing was wrong, and nothing was
accused. `no symptom`: the model copes with the fault. `silent`: a fault without an accusation. `WRONG`: another cause,
or a sound model accused. Exits with 1 if anything is WRONG.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import torch

from benchmarks.casebook_parts import inference, sound, training
from benchmarks.casebook_parts.case import Case
from benchmarks.confusion_parts.outcomes import ACCUSING
from collapsecheck.causes import Status
from collapsecheck.reports import Report
from sample_models import working
from sample_models.scanning import scanned

CASES = (*inference.CASES, *training.CASES, *sound.CASES)


def main() -> int:
    """Replay, scan and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="part of a thread's name")
    parser.add_argument("--cache", type=Path, help="folder to keep the working models in")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    working.kept_in = arguments.cache / "working" if arguments.cache else None
    counts: Counter[str] = Counter()
    print("| case | what was reported | verdict | expected | on top | outcome |\n|---|---|---|---|---|---|")
    begin = time.perf_counter()
    for case in CASES:
        if not arguments.only or any(part in case.thread for part in arguments.only):
            report = scanned(case.make())
            outcome = compared(case, report)
            counts[outcome] += 1
            print(row(case, report, outcome), flush=True)
    print(f"\n{', '.join(f'{count} {outcome}' for outcome, count in sorted(counts.items()))}")
    print(f"{time.perf_counter() - begin:.0f} s, torch {torch.__version__}, 1 thread")
    return int(counts["WRONG"] > 0)


def compared(case: Case, report: Report) -> str:
    """One word for what came of it."""
    accused = [one.cause for one in report.diagnoses if one.status in ACCUSING and not one.expected]
    top = report.diagnoses[0] if report.diagnoses else None
    if top is not None and top.status in ACCUSING and top.cause in case.expected:
        return "named"
    if accused:
        return "WRONG"
    if not case.expected or "" in case.expected:
        return "sound"
    if report.verdict.status == "healthy":
        return "no symptom"
    guessed = top is not None and top.cause in case.expected and top.status is Status.UNTESTED
    return "guessed" if guessed else "silent"


def row(case: Case, report: Report, outcome: str) -> str:
    """A line of the table."""
    top = report.diagnoses[0] if report.diagnoses else None
    said = f"{top.cause} ({top.status}) at {top.layer or 'no layer'}" if top is not None else "-"
    health = report.verdict.status + (f", {report.verdict.kind}" if report.verdict.kind else "")
    expected = ", ".join(sorted(one or "nothing" for one in case.expected)) or "nothing"
    return f"| {case.thread} | {case.story} | {health} | {expected} | {said} | {outcome} |"


if __name__ == "__main__":
    sys.exit(main())

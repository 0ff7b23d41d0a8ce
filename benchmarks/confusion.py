"""Causes x sample models x seeds: who is named, where, how sure, and whether anybody is accused who is innocent.

    python benchmarks/confusion.py --cache FOLDER [--seeds 0 1 2] [--only dead-relu] [--write]

Every file of `sample_models/` that is named after a cause gives a broken and a repaired model for several
architectures; each is written to disk and scanned, as a user would. Then come sound models that look collapsed to some
statistic (`confusion_parts/healthy.py`). A cause counts as named if it is `confirmed` or `likely`; causes that are
`expected` are notes, and accuse nobody. `--write` puts the figures into `benchmarks/confusion.json` and `.md`. Trained
models are kept in the cache; empty it after changing an architecture.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import torch

from benchmarks.confusion_parts import healthy
from benchmarks.confusion_parts.keeping import kept
from collapsecheck.diagnosis import all_causes
from collapsecheck.errors import CollapsecheckError
from collapsecheck.reports import Report
from sample_models import architectures, working
from sample_models.sample import Sample
from sample_models.scanning import scanned

NAMED = ("confirmed", "likely")
Row = dict[str, Any]


def main() -> int:
    """Scan them all, print the table; the exit code says whether a sound model was accused."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cache", type=Path, help="folder to keep trained models in")
    parser.add_argument("--only", default="", help="causes and sound models whose name contains this")
    parser.add_argument("--part", choices=["all", "causes", "healthy"], default="all")
    parser.add_argument("--write", action="store_true", help="write confusion.json and confusion.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    for seed in options.seeds:
        if options.part != "healthy":
            rows += shown(of_causes(seed, options.cache, options.only))
        if options.part != "causes":
            rows += shown(of_healthy(seed, options.cache, options.only))
    table = summary(rows)
    print(table)
    if options.write:
        found = {"environment": environment(options.seeds), "rows": rows}
        (HERE / "confusion.json").write_text(json.dumps(found, indent=1) + "\n")
        (HERE / "confusion.md").write_text(table)
    return int(any(row["accused"] for row in rows))


def of_causes(seed: int, cache: Path | None, only: str) -> Iterator[Row]:
    """Broken and repaired ones of every cause that has a sample file."""
    for cause in all_causes():
        try:
            module = importlib.import_module(f"sample_models.{cause.replace('-', '_')}")
        except ModuleNotFoundError:
            continue
        if only not in cause:
            continue
        for build in module.ARCHITECTURES:
            for state, make in (("broken", module.broken), ("repaired", module.repaired)):
                name = f"{cause}-{build.__name__}-{seed}-{state}"
                sample = kept(cache, name, (module, working, architectures), _making(make, build, seed))
                yield row(cause, build.__name__, seed, state, sample)


def of_healthy(seed: int, cache: Path | None, only: str) -> Iterator[Row]:
    """The sound models."""
    for variant in healthy.VARIANTS.values():
        if only in variant.name:
            sample = kept(cache, f"healthy-{variant.name}-{seed}", (healthy,), _making(variant.sample, seed))
            yield row("healthy", variant.name, seed, "healthy", sample, allowed=variant.allowed)


def row(cause: str, model: str, seed: int, state: str, sample: Sample, *, allowed: frozenset[str] = frozenset()) -> Row:
    """What a scan says, against what is true."""
    begin = time.perf_counter()
    try:
        report: Report | None = scanned(sample)
        error = ""
    except CollapsecheckError as raised:
        report, error = None, str(raised)
    made: Row = {
        "cause": cause, "model": model, "seed": seed, "state": state, "error": error,
        "seconds": round(time.perf_counter() - begin, 1), "verdict": "", "kind": None, "top": "", "status": "",
        "layer": "", "onset": None, "right": None, "onset_right": None, "accused": [], "evidence": "",
    }  # fmt: skip
    if report is None:
        return made
    named = [one for one in report.diagnoses if one.status in NAMED]
    expected = getattr(all_causes().get(cause), "expected", False)
    top = report.diagnoses[0] if report.diagnoses else None
    made |= {
        "verdict": report.verdict.status.value,
        "kind": report.verdict.kind.value if report.verdict.kind else None,
        "onset": report.onset.layer if report.onset else None,
        "diagnoses": [(one.status.value, one.cause, one.layer) for one in report.diagnoses],
    }
    if top is not None:
        made |= {"top": top.cause, "status": top.status.value, "layer": top.layer, "evidence": top.evidence[:300]}
    if state == "broken":
        made["right"] = top is not None and top.status in NAMED and top.cause == cause
        if sample.layer and not expected:
            places = {sample.layer, *sample.also}
            made["onset_right"] = report.onset is not None and report.onset.layer in places
    else:
        made["accused"] = [one.cause for one in named if not one.expected and one.cause not in allowed]
    return made


def shown(rows: Iterator[Row]) -> Iterator[Row]:
    """Print each row as it comes; what is wrong stands out."""
    for one in rows:
        wrong = bool(one["error"]) or one["right"] is False or one["onset_right"] is False or bool(one["accused"])
        verdict = f"{one['verdict']}/{one['kind']}" if one["kind"] else one["verdict"]
        named = f"{one['status']} {one['top']} at {one['layer'] or '-'}" if one["top"] else "-"
        print(
            f"{'WRONG' if wrong else '':6}{one['seed']} {one['cause']:30}{one['model']:24}{one['state']:9}{verdict:22}"
            f"{named}, onset {one['onset']} {one['error']} {', '.join(one['accused'])} ({one['seconds']} s)",
            flush=True,
        )
        yield one


def summary(rows: list[Row]) -> str:
    """Figures per cause and in total, as a markdown table."""
    seeds = sorted({one["seed"] for one in rows})
    lines = [
        "# Confusion", "", ", ".join(f"{name} {value}" for name, value in environment(seeds).items()), "",
        "| cause | models x seeds | named on top | onset right | confirmed | named instead | repaired, accused |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    causes = sorted({one["cause"] for one in rows} - {"healthy"})
    lines += [_line(cause, [one for one in rows if one["cause"] == cause]) for cause in causes]
    lines.append(_line("**all**", [one for one in rows if one["cause"] != "healthy"]))
    sound = [one for one in rows if one["cause"] == "healthy"]
    if sound:
        accused = [one for one in sound if one["accused"] or one["error"]]
        verdicts = {one["verdict"] for one in sound}
        counted = ", ".join(f"{sum(one['verdict'] == v for one in sound)} {v}" for v in sorted(verdicts))
        lines += ["", f"{len({one['model'] for one in sound})} sound models, {len(sound)} scans: {counted}; "
                  f"{len(accused)} accused."]  # fmt: skip
        lines += [
            f"- {one['model']} (seed {one['seed']}): {', '.join(one['accused']) or one['error']}" for one in accused
        ]
    return "\n".join(lines) + "\n"


def environment(seeds: list[int]) -> dict[str, Any]:
    """On what the figures were had."""
    return {
        "date": datetime.now(UTC).date().isoformat(), "CPUs": os.cpu_count(), "torch": torch.__version__,
        "python": platform.python_version(), "seeds": seeds,
    }  # fmt: skip


def _line(cause: str, rows: list[Row]) -> str:
    broken = [one for one in rows if one["state"] == "broken"]
    placed = [one for one in broken if one["onset_right"] is not None]
    instead = sorted({one["top"] or "nothing" for one in broken if not one["right"]})
    accused = [one for one in rows if one["state"] == "repaired" and one["accused"]]
    return (
        f"| {cause} | {len(broken)} | {_share(one['right'] for one in broken)} "
        f"| {_share(one['onset_right'] for one in placed)} "
        f"| {_share(one['right'] and one['status'] == 'confirmed' for one in broken)} "
        f"| {', '.join(instead) or '-'} | {len(accused) or '-'} |"
    )


def _share(values: Iterator[bool]) -> str:
    held = list(values)
    return f"{sum(held)}/{len(held)} ({sum(held) / len(held):.0%})" if held else "-"


def _making(make: Callable[..., Sample], *arguments: Any) -> Callable[[], Sample]:
    return lambda: make(*arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Which cause is named for which fault, and what sound models are accused of.

    python benchmarks/confusion.py [--only dead-relu] [--only sound] [--seeds 0 1 2] [--cache FOLDER]

Every file of sample_models that is named after a cause is broken and repaired in each of its architectures, for each
seed, and scanned from disk as a user would. Sound models (the zoo's, and more) are scanned for the first seed only;
those that did not learn their task are left out. Outcomes go to confusion.json and confusion.md in the output folder; a
run with --only replaces only the rows that it made. Trained models are kept in the cache: empty it after changing how
they are made. Exits with 1 if a sound or a repaired model was accused.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import torch

from benchmarks.confusion_parts.outcomes import Outcome, described, outcome, table
from benchmarks.confusion_parts.planted import planted, without_samples
from benchmarks.confusion_parts.sound import recipes, sound
from collapsecheck.diagnosis import all_causes
from collapsecheck.reports import Report
from sample_models import working
from sample_models.sample import Sample
from sample_models.scanning import scanned


def main() -> int:
    """Scan, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="a cause, sound, or sound/ and part of a name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cache", type=Path, help="folder to keep trained models in")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for confusion.json and confusion.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    working.kept_in = arguments.cache / "working" if arguments.cache else None
    known = {one.key: one for one in stored(arguments.output)}
    made = []
    for one in outcomes(arguments.only, arguments.seeds, arguments.cache):
        print(f"{'WRONG' if one.wrong else 'right'} {described(one)} [{one.seconds:.1f} s]", flush=True)
        made.append(one)
        known[one.key] = one
        write(sorted(known.values(), key=lambda each: each.key), arguments.output)
    print()
    print(table(made))
    return int(any(one.wrong for one in made if one.group != "broken"))


def outcomes(only: list[str], seeds: list[int], cache: Path | None) -> Iterator[Outcome]:
    """Scan all that was asked for, one after the other."""
    causes = list(all_causes())
    for cause in without_samples(causes):
        if not only:
            print(f"no sample model yet: {cause}")
    # The repaired model of one cause is often that of another: the same files are scanned once.
    reports: dict[str, tuple[Report, float]] = {}
    for one in planted([cause for cause in causes if not only or cause in only], seeds):
        sample = one.make()
        same = digest(sample)
        if same not in reports:
            begin = time.perf_counter()
            reports[same] = scanned(sample), time.perf_counter() - begin
        report, seconds = reports[same]
        yield outcome(
            report,
            group="broken" if one.is_broken else "repaired",
            cause=one.cause,
            model=one.model,
            seed=one.seed,
            places={sample.layer, *sample.also} if one.is_broken and sample.layer else (),
            seconds=seconds,
        )
    for recipe in recipes():
        if only and not any(f"sound/{recipe.name}".startswith(part) for part in only):
            continue
        made = sound(recipe, seeds[0], cache)
        if not made.intended:
            print(f"left out, has not learnt its task: {recipe.name}", flush=True)
            continue
        begin = time.perf_counter()
        report = scanned(made.sample)
        yield outcome(
            report, group="sound", cause="", model=recipe.name, seed=seeds[0], seconds=time.perf_counter() - begin
        )


def digest(sample: Sample) -> str:
    """The same for samples that a scan cannot tell apart."""
    found = hashlib.sha256(
        repr((sample.model_def, sorted(sample.options.items()), sorted(sample.settings.items()))).encode()
    )
    rows = {"inputs": sample.inputs, "labels": sample.labels, **sample.state}
    for name, tensor in rows.items():
        found.update(name.encode())
        if isinstance(tensor, torch.Tensor):
            found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            found.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        else:
            found.update(repr(tensor).encode())
    return found.hexdigest()


def stored(folder: Path) -> list[Outcome]:
    """Outcomes of earlier runs."""
    file = folder / "confusion.json"
    if not file.exists():
        return []
    rows = json.loads(file.read_text(encoding="utf-8"))["outcomes"]
    return [Outcome(**{**row, "accused": tuple(row["accused"])}) for row in rows]


def write(found: list[Outcome], folder: Path) -> None:
    """Both files, with what they were made on."""
    made_on = environment()
    folder.mkdir(parents=True, exist_ok=True)
    content = {"environment": made_on, "outcomes": [asdict(one) for one in found]}
    (folder / "confusion.json").write_text(rows_in_lines(content), encoding="utf-8")
    head = "# Confusion matrix\n\nMade by `python benchmarks/confusion.py` on "
    shown = ", ".join(f"{name} {value}" for name, value in made_on.items())
    (folder / "confusion.md").write_text(f"{head}{shown}.\n\n{table(found)}", encoding="utf-8")


def rows_in_lines(content: dict[str, Any]) -> str:
    """JSON with an outcome in each line, so that a difference shows which ones changed."""
    rows = ",\n".join(json.dumps(row) for row in content["outcomes"])
    return f'{{"environment": {json.dumps(content["environment"])},\n"outcomes": [\n{rows}\n]}}\n'


def environment() -> dict[str, Any]:
    """Where the figures were made."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "CPUs": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    sys.exit(main())

"""Faults that no rule was set on, in networks and data that no sample has.

    python benchmarks/unseen.py --data FOLDER [--seeds 0 1] [--only dead] [--cache FOLDER]

FOLDER holds the four files of Fashion-MNIST (`train-images-idx3-ubyte.gz` and so on, on Debian from the package
dataset-fashion-mnist in /usr/share/datasets). Sixteen encoders are trained on it, broken in one way each at a random
place, and scanned from disk; and scanned as they are. `right`: a right cause is on top, confirmed or likely. `quiet`:
the embeddings do not show the fault, and nothing is accused. `WRONG`: another cause or none on top, or a sound one is
accused.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import torch
from torch import nn
from torch.nn import functional

from benchmarks.unseen_parts.faults import FAULTS, Broken, Case
from benchmarks.unseen_parts.networks import ALL
from benchmarks.unseen_parts.pictures import Pictures, normalised, pictures
from collapsecheck.causes import Status
from collapsecheck.reports import Report
from sample_models.planting import Build
from sample_models.sample import Sample
from sample_models.scanning import scanned

SOUND = "sound"
LARGE = ("resnet18", "mobilenet")


def main() -> int:
    """Train, break, scan, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", default="", help="part of the name of a fault, or sound")
    parser.add_argument("--cache", type=Path, help="folder to keep trained networks in")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = pictures(arguments.data)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in arguments.seeds:
        for build in ALL:
            model = trained(build, seed, data, arguments.cache)
            for name in (SOUND, *FAULTS):
                if arguments.only in name:
                    begin = time.perf_counter()
                    outcome, told = tried(name, build, seed, copy.deepcopy(model), data)
                    if outcome:
                        counts[name][outcome] += 1
                        seconds = time.perf_counter() - begin
                        print(f"{outcome} {name} / {build.__name__} / {seed}: {told} [{seconds:.1f} s]", flush=True)
    print(f"\n{'fault':<32} {'right':>5} {'quiet':>5} {'WRONG':>5}")
    for name, found in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
        print(f"{name:<32} {found['right']:>5} {found['quiet']:>5} {found['WRONG']:>5}")
    return int(counts[SOUND]["WRONG"] > 0)


def tried(name: str, build: Build, seed: int, model: nn.Module, data: Pictures) -> tuple[str, str]:
    """Break a network and scan it; "" where it cannot be broken so."""
    random = Random(f"{name}{build.__name__}{seed}")
    case = Case(name=build.__name__, build=build, model=model, data=data, random=random)
    made, causes = (FAULTS[name][0](case), FAULTS[name][1]) if name != SOUND else (Broken(), ())
    if made is None:
        return "", ""
    inputs = normalised(data.unseen) if made.inputs is None else made.inputs
    broken = made.model if made.model is not None else case.model
    state = made.state if made.state is not None else broken.state_dict()
    labels = data.unseen_classes if len(inputs) == len(data.unseen) else None
    report = scanned(Sample(build=build, state=state, inputs=inputs.detach(), labels=labels, options=made.options))
    return judged(report, causes, made.layer)


def judged(report: Report, causes: tuple[str, ...], layer: str | None) -> tuple[str, str]:
    """What the report is worth, and what it says."""
    sure = [one for one in report.diagnoses if one.status in (Status.CONFIRMED, Status.LIKELY)]
    accused = [one for one in sure if not one.expected]
    onset = report.onset.layer if report.onset is not None else None
    named = ", ".join(f"{one.cause} ({one.status}) at {one.layer or 'no layer'}" for one in sure[:3]) or "no cause"
    told = f"{report.verdict.status} {report.verdict.kind or ''}; {named}; onset {onset}"
    if layer is not None and causes and onset != layer:
        told += f", not {layer}"
    if causes and sure and sure[0].cause in causes:
        return "right", told
    if not accused and report.verdict.status == "healthy":
        return ("quiet" if causes else "right"), told
    return ("WRONG" if causes or accused else "right"), told


def trained(build: Build, seed: int, data: Pictures, cache: Path | None) -> nn.Module:
    """An encoder with a linear classifier on top, trained for a few hundred steps."""
    torch.manual_seed(seed)
    encoder = build()
    file = cache / f"{build.__name__}-{seed}.pt" if cache is not None else None
    if file is not None and file.exists():
        encoder.load_state_dict(torch.load(file))
        return encoder.eval()
    large = build.__name__ in LARGE
    with torch.no_grad():
        width = encoder.eval()(data.unseen[:2]).shape[1]
    head = nn.Identity() if large else nn.Linear(width, 10)
    scale = 10 if build.__name__ == "unit_gru" else 1
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-3)
    encoder.train()
    for _ in range(120 if large else 250):
        chosen = torch.randint(len(data.training), (64 if large else 128,))
        scores = head(encoder(normalised(data.training[chosen]))) * scale
        optimizer.zero_grad()
        functional.cross_entropy(scores, data.training_classes[chosen]).backward()
        optimizer.step()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(encoder.state_dict(), file)
    return encoder.eval()


if __name__ == "__main__":
    sys.exit(main())

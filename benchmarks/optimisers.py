"""What the optimiser in a checkpoint tells: healthy trainings against those at a rate that was too high.

    python benchmarks/optimisers.py [--only SGD] [--seeds 0] [--factors 30 100 300]

Small encoders of many kinds are trained on digits as a sound script would, and with the rate times 30, 100 or 300;
each is saved with its optimiser and scanned from disk. A training counts as sound if the scan calls it healthy and a
linear read-out of the embeddings tells digits apart, and as spoilt if a rate that is too high has made it neither;
what is in between is left out. Prints a line for each, quantiles of the median update, the largest at the peak of the
schedule, the smallest silence, the largest share of decay, and how often `learning-rate-too-high` comes first and any
cause accuses.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import numpy as np
import torch
from torch import Tensor, nn

from collapsecheck.causes import Status
from collapsecheck.checkpoints.optimiser_facts import OptimiserFacts
from collapsecheck.models import load_model
from collapsecheck.models.optimiser import optimiser_of
from collapsecheck.reports import Report
from sample_models import architectures as a
from sample_models.objectives import Loss, classification, right_pairs, semi_hard_triplets
from sample_models.sample import Sample
from sample_models.scanning import scanned
from sample_models.working import SCANNED, Build, data, digits

Make = Callable[[list[nn.Parameter], float], torch.optim.Optimizer]


class Way(NamedTuple):
    """An optimiser at its usual rate; `schedule` is a warm-up and a cosine down to zero."""

    name: str
    make: Make
    rate: float
    schedule: bool = False


WAYS = (
    Way("SGD momentum", lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9), 0.05),
    Way("SGD nesterov decay", lambda p, lr: torch.optim.SGD(p, lr, 0.9, weight_decay=5e-4, nesterov=True), 0.1, True),
    Way("SGD", lambda p, lr: torch.optim.SGD(p, lr=lr), 0.1),
    Way("Adam", lambda p, lr: torch.optim.Adam(p, lr=lr), 1e-3),
    Way("Adam fast", lambda p, lr: torch.optim.Adam(p, lr=lr), 1e-2),
    Way("Adam L2", lambda p, lr: torch.optim.Adam(p, lr=lr, weight_decay=1e-4), 2e-3),
    Way("AdamW cosine", lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.05), 2e-3, True),
    Way("AdamW", lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1), 1e-3),
)
BUILDS = (
    a.plain, a.normalised, a.perceptron, a.residual, a.squashed, a.transformer, a.gelu_perceptron,
    a.normalised_perceptron, a.deep_normalised_perceptron, a.recurrent,
)  # fmt: skip
LOSSES: tuple[Loss, ...] = (classification, semi_hard_triplets, right_pairs)
STEPS = (60, 200, 200)
FACTORS = (30, 100, 300)


class Trained(NamedTuple):
    """One training, what it came to, and what is said of it."""

    name: str
    factor: int
    report: Report
    facts: OptimiserFacts | None
    score: float

    @property
    def group(self) -> str:
        """Sound or spoilt, "" for what is neither."""
        if self.factor == 1:
            return "sound" if self.report.verdict.status == "healthy" and self.score > 0.7 else ""
        return "spoilt" if self.report.verdict.status == "collapsed" and not self.score > 0.7 else ""

    @property
    def accused(self) -> list[str]:
        """Causes that are confirmed or likely, the first one first."""
        sure = (Status.CONFIRMED, Status.LIKELY)
        return [one.cause for one in self.report.diagnoses if one.status in sure and not one.expected]


def trainings(seeds: list[int], only: str, factors: list[int]) -> Iterator[Trained]:
    """Every way with half of the networks, the other half with the next seed; objectives and lengths by turns."""
    for seed in seeds:
        for i, way in enumerate(WAYS):
            for j, build in enumerate(BUILDS):
                loss, steps = LOSSES[(i + j + seed) % 3], STEPS[(2 * i + j + seed) % 3]
                factor = factors[(i + j) % len(factors)]
                name = f"{way.name} / {build.__name__} / {loss.__name__} / {steps} / {seed}"
                if only in name and (i // 2 + j + seed) % 2 == 0:
                    for times in (1, factor):
                        yield trained(name, way, build, loss, steps=steps, factor=times, seed=seed)


def trained(name: str, way: Way, build: Build, loss: Loss, *, steps: int, factor: int, seed: int) -> Trained:
    """Train, save, scan."""
    torch.manual_seed(seed)
    encoder, head = build(), nn.Linear(64, 10)
    optimiser = way.make([*encoder.parameters(), *head.parameters()], way.rate * factor)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: shape(step, steps)) if way.schedule else None
    pictures, classes = (part[SCANNED:] for part in digits())
    encoder.train()
    for _ in range(steps):
        chosen = torch.randint(len(pictures), (128,))
        optimiser.zero_grad()
        loss(encoder, head, pictures[chosen], classes[chosen]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if scheduler is not None:
            scheduler.step()
    state: dict[str, Any] = {"model": encoder.state_dict(), "optimizer": optimiser.state_dict(), "step": steps}
    shown, known = data()
    sample = Sample(build=build, state=state, inputs=shown, labels=known)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.pt"
        torch.save(state, file)
        facts = optimiser_of(load_model(file, model_def=sample.model_def))
    with torch.no_grad():
        score = read_out(encoder.eval()(shown), known)
    return Trained(name, factor, scanned(sample), facts, score)


def shape(step: int, steps: int) -> float:
    """Warm-up for a tenth, then a cosine that ends a little above zero."""
    warm = steps / 10
    return (step + 1) / warm if step < warm else 0.5 * (1 + np.cos(np.pi * (step - warm) / (1.02 * (steps - warm))))


def read_out(rows: Tensor, classes: Tensor) -> float:
    """Accuracy of a ridge regression from half of the embeddings, on the other half."""
    if not bool(rows.isfinite().all()):
        return 0.0
    rows = rows.double() - rows.double().mean(dim=0)
    rows = rows / rows.std().clamp(min=1e-30)
    half = len(rows) // 2
    wanted = nn.functional.one_hot(classes, 10).double() - 0.1
    x = rows[:half]
    solved = torch.linalg.solve(x.T @ x + 0.1 * torch.eye(x.shape[1], dtype=torch.float64), x.T @ wanted[:half])
    return float(((rows[half:] @ solved).argmax(dim=1) == classes[half:]).double().mean())


def line(one: Trained) -> str:
    """What is told of one training."""
    facts, updates = one.facts, one.facts.updates if one.facts else None
    told = f"update {updates.median:.1e} {updates.upper:.1e} peak {updates.at_peak:.1e}" if updates else "no update"
    share = f"decay {facts.decay_share:.2f}" if facts and facts.decay_share is not None else ""
    silence = f"silence {facts.silence:.1e}" if facts and facts.silence is not None else ""
    odd = [*facts.untouched, *facts.stopped, *facts.missing, *facts.decayed] if facts else []
    return (
        f"{one.group or '-':<6} x{one.factor:<3} {one.name}: {one.report.verdict.status} {one.score:.2f}; {told} "
        f"{silence} {share}; {', '.join(one.accused) or 'nobody'}{f'; odd {odd}' if odd else ''}"
    )


def main() -> int:
    """Train all, print all; 1 if a sound training is accused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of the name of a training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--factors", type=int, nargs="+", default=list(FACTORS), help="that the rates are too high by")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    made = []
    for one in trainings(arguments.seeds, arguments.only, arguments.factors):
        made.append(one)
        print(line(one), flush=True)
    print(f"\n{'group':<8}{'n':>4}{'update 5%':>11}{'50%':>9}{'95%':>9}{'max':>9}{'at peak':>9}", end="")
    print(f"{'silence':>9}{'decay':>7}{'accused':>9}{'rate first':>12}{'odd facts':>11}")
    for group in ("sound", "spoilt"):
        rows = [one for one in made if one.group == group]
        known = [one.facts for one in rows if one.facts is not None]
        updates = [one.updates.median for one in known if one.updates is not None]
        low, mid, high, most = np.quantile(updates, [0.05, 0.5, 0.95, 1]) if updates else [np.nan] * 4
        peak = max((one.updates.at_peak for one in known if one.updates is not None), default=np.nan)
        silence = min((one.silence for one in known if one.silence is not None), default=np.nan)
        decay = max((one.decay_share for one in known if one.decay_share is not None), default=np.nan)
        first = sum(one.accused[:1] == ["learning-rate-too-high"] for one in rows)
        odd = sum(bool(one.untouched or one.stopped or one.missing or one.behind) for one in known)
        print(f"{group:<8}{len(rows):>4}{low:>11.1e}{mid:>9.1e}{high:>9.1e}{most:>9.1e}{peak:>9.1e}", end="")
        print(f"{silence:>9.1e}{decay:>7.2f}{sum(bool(one.accused) for one in rows):>9}{first:>12}{odd:>11}")
    return int(any(one.accused for one in made if one.group == "sound"))


if __name__ == "__main__":
    sys.exit(main())

"""Which backward is caught, which is left alone, and what it costs.

    python benchmarks/gradcheck.py [--seeds 0 1 2]

Every function of tests/observe/gradcheck in a small model: those that are right, those that are no derivative on
purpose, and those with a planted error. Then a model of 50 modules that hold custom functions, once with its custom
functions checked and once with all of its layers.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

import torch
from torch import nn

from collapsecheck.observe.gradcheck import Gradient, gradient_checks
from tests.observe.gradcheck import functions, further, unseen
from tests.observe.gradcheck.conftest import probe_of

MODULES = 50


def judged(build: functions.Build, seed: int) -> str:
    """What is said of the only function of a model."""
    torch.manual_seed(seed)
    found = gradient_checks(probe_of(build(), torch.randn(20, functions.WIDTH))) or ()
    return ", ".join(one.outcome.value for one in found) or "nothing found"


def table(seeds: list[int]) -> None:
    """Count, and name what is judged otherwise."""
    for wanted, name in ((Gradient.RIGHT, "RIGHT"), (Gradient.DELIBERATE, "DELIBERATE"), (Gradient.WRONG, "WRONG")):
        all_of = {key: build for file in (functions, further, unseen) for key, build in getattr(file, name).items()}
        outcomes = {(key, seed): judged(build, seed) for key, build in all_of.items() for seed in seeds}
        as_wanted = sum(one == wanted for one in outcomes.values())
        print(f"{name.lower():>10}: {as_wanted} of {len(outcomes)} ({len(all_of)} functions)")
        for (key, seed), outcome in outcomes.items():
            if outcome != wanted:
                print(f"            {key}, seed {seed}: {outcome}")


def cost() -> None:
    """Seconds for a model of many modules."""
    names = [name for name in functions.RIGHT if judged(functions.RIGHT[name], 0) == Gradient.RIGHT]
    names = [name for name in names if functions.RIGHT[name]()(torch.randn(8, functions.WIDTH)).shape[1] == 16]
    model = nn.Sequential(*[functions.RIGHT[names[count % len(names)]]() for count in range(MODULES)])
    inputs = torch.randn(20, functions.WIDTH)
    for which in ("custom", "layers"):
        begin = time.perf_counter()
        found = gradient_checks(probe_of(model, inputs), which) or ()
        print(f"{which:>10}: {len(found)} calls in {MODULES} modules, {time.perf_counter() - begin:.1f} s")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    table(parser.parse_args().seeds)
    cost()


if __name__ == "__main__":
    main()

"""Reads random pickles for a long time: nearly right streams of instructions, and real checkpoints with damage.

    python benchmarks/fuzz_inert.py [--minutes 10] [--seed 0]

Prints how many were read and refused, every other exception (there must be none), the effects on the world that an
audit hook saw (none), the slowest pickle, the peak of the memory, and the instructions that were never executed.
Exits with 1 if anything but `NotLoadableError` came out, or anything happened.
"""

from __future__ import annotations

import argparse
import pickletools
import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

# As a script, this folder's statistics.py would hide the one of the standard library.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import encodings.unicode_escape
import encodings.utf_32_be
import encodings.utf_32_le  # noqa: F401 - codecs are imported when they are needed first

from collapsecheck.checkpoints.inert import read_pickle
from collapsecheck.checkpoints.inert.instructions import INSTRUCTIONS
from collapsecheck.checkpoints.records import ModuleRecord
from collapsecheck.checkpoints.stored import MappedTensor
from collapsecheck.errors import NotLoadableError
from tests.checkpoints.inert import streams

_WATCHED = ("import", "open", "exec", "compile", "marshal.loads", "pickle.find_class")
_WATCHED_MODULES = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.")


def main() -> int:
    """Read, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of processor time")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    corpus = streams.checkpoints()
    executed = _count_instructions()
    outcomes: Counter[str] = Counter()
    effects: list[tuple[str, Any]] = []
    watching = False

    def watch(event: str, about: Any) -> None:
        if watching and (event in _WATCHED or event.startswith(_WATCHED_MODULES)):
            effects.append((event, about))

    sys.addaudithook(watch)
    random = Random(arguments.seed)
    slowest = 0.0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    runs = 0
    while time.process_time() < 60 * arguments.minutes:
        content = streams.stream(random) if random.random() < 0.5 else streams.damaged(random, random.choice(corpus))
        begin = time.process_time()
        watching = True
        try:
            value, _ = read_pickle(content, file=Path("none"), locate=lambda _: (0, 16))
            _look_at(value)
            outcome = "read"
        except NotLoadableError as error:
            outcome = f"refused: {str(error)[:60]}"
        except Exception as error:
            outcome = f"ERROR {type(error).__name__}: {error}"
            watching = False
            print(content.hex(), traceback.format_exc(), sep="\n", file=sys.stderr)
        watching = False
        outcomes[outcome] += 1
        slowest = max(slowest, (time.process_time() - begin, len(content)))
        runs += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    errors = sum(count for outcome, count in outcomes.items() if outcome.startswith("ERROR"))
    print(f"{runs:,} pickles, {errors} errors, {len(effects)} effects, {grown / 1024:.0f} MiB more memory")
    print(f"slowest: {slowest[0]:.3f} s for {slowest[1]} bytes")
    missed = [op.name for op in pickletools.opcodes if not executed[ord(op.code)] and op.name != "STOP"]
    print(f"instructions never executed: {', '.join(missed) or 'none'}")
    for outcome, count in outcomes.most_common(40):
        print(f"{count:>10,}  {outcome}")
    return 1 if errors or effects else 0


def _look_at(value: object) -> None:
    if isinstance(value, ModuleRecord):
        value.state_dict()
    elif isinstance(value, MappedTensor) and (value.offset < 0 or value.offset + value.span > 16):
        raise AssertionError(f"{value} lies outside its storage")


def _count_instructions() -> Counter[int]:
    executed: Counter[int] = Counter()

    def counted(code: int, made: Any) -> Any:
        def instruction(machine: Any) -> None:
            executed[code] += 1
            made(machine)

        return instruction

    INSTRUCTIONS[:] = [counted(code, made) for code, made in enumerate(INSTRUCTIONS)]
    return executed


if __name__ == "__main__":
    sys.exit(main())

"""Whether bare state dicts are recognised, and nothing is that is not there.

    python benchmarks/recognition.py [--library timm] [--every 10] [--verbose]

Every builder of the library makes a skeleton; its names and shapes are changed as users change them, and looked up.
`right`: that model alone. `several`: one of them is right. `part`: a model that is wholly inside this one,
and the rest is said to be left out. `none`: no claim. `wrong`: another model. A quantised twin has the weights of its
float model, which is then the right answer. The last rows are weights that should make no claim. Times are of one query
on a loaded index, in milliseconds of processor time.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

# This folder has a statistics.py, which would hide the one of the standard library from torch.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))

from torchvision import models

from benchmarks.recognition_parts.unrelated import unrelated
from collapsecheck.models.timm_architecture import TimmArchitecture
from collapsecheck.models.torchvision_architecture import TorchvisionArchitecture
from collapsecheck.models.weights import expected_shapes
from collapsecheck.recognition.alignment import Shapes
from collapsecheck.recognition.index import Index, shipped
from collapsecheck.recognition.matching import matches
from collapsecheck.recognition.order import matches_in_order

Model = TorchvisionArchitecture | TimmArchitecture
Change = Callable[[Model, Shapes], Shapes | None]
OUTCOMES = ("right", "several", "part", "none", "wrong")


def main() -> int:
    """Print the table; the exit code says whether there was a wrong claim."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=["torchvision", "timm"], default="torchvision")
    parser.add_argument("--every", type=int, default=1, help="take only every n-th model")
    parser.add_argument("--verbose", action="store_true", help="name what is not right")
    arguments = parser.parse_args()
    index = loaded(arguments.library)
    skeletons = {name: (model, model.shapes()) for name, model in builders(arguments.library, arguments.every)}
    print(f"{len(skeletons)} builders of {arguments.library}, index of {index.version}")
    print(f"{'change':<46} {'n':>5} " + " ".join(f"{title:>7}" for title in (*OUTCOMES, "ms", "max")))
    wrong = 0
    for label, change in CHANGES.items():
        counts: Counter[str] = Counter()
        taken = []
        for name, (model, shapes) in skeletons.items():
            changed = change(model, shapes)
            if changed is None:
                continue
            outcome, claimed, seconds = asked(name, changed, index)
            counts[outcome] += 1
            taken.append(seconds)
            if arguments.verbose and outcome != "right":
                print(f"    {name}: {outcome}, {', '.join(claimed) or 'no claim'}")
        wrong += counts["wrong"]
        row(label, counts, taken)
    wrong += strangers(index, arguments.verbose)
    return 1 if wrong else 0


def loaded(library: str) -> Index:
    """Load the index, and say how long that took."""
    begin = time.process_time()
    index = shipped(library)
    if index is None:
        raise SystemExit(f"no index of {library} is shipped")
    _ = index.numbers, index.holders
    print(f"index loaded in {time.process_time() - begin:.2f} s")
    return index


def builders(library: str, every: int) -> Iterable[tuple[str, Model]]:
    """Yield every architecture."""
    if library == "timm":
        import timm

        return ((name, TimmArchitecture(name)) for name in timm.list_models()[::every])
    return ((name, TorchvisionArchitecture(name)) for name in models.list_models()[::every])


def asked(name: str, shapes: Shapes, index: Index) -> tuple[str, list[str], float]:
    """Look up, as a scan does: by name and shape, then by order."""
    begin = time.process_time()
    found = [one for one in matches(shapes, index) if one.sound] or matches_in_order(shapes, index)
    seconds = time.process_time() - begin
    claimed = [one.name for one in found]
    wanted = name.removeprefix("quantized_")
    if not claimed:
        return "none", claimed, seconds
    if claimed == [wanted]:
        return "right", claimed, seconds
    if wanted in claimed:
        return "several", claimed, seconds
    return ("part" if all(one.outside for one in found) else "wrong"), claimed, seconds


def strangers(index: Index, verbose: bool) -> int:
    """Show networks that no library has."""
    counts: Counter[str] = Counter()
    taken = []
    for name, module in unrelated():
        outcome, claimed, seconds = asked("", expected_shapes(module), index)
        counts[outcome] += 1
        taken.append(seconds)
        if verbose and outcome != "none":
            print(f"    {name}: {', '.join(claimed)}")
    row("unrelated networks", counts, taken)
    return counts["wrong"]


def row(label: str, counts: Counter[str], taken: list[float]) -> None:
    """Print one line of the table."""
    if taken:
        shown = " ".join(f"{counts[outcome]:>7}" for outcome in OUTCOMES)
        mean = 1000 * sum(taken) / len(taken)
        print(f"{label:<46} {len(taken):>5} {shown} {mean:>7.1f} {1000 * max(taken):>7.1f}", flush=True)


def prefixed(prefix: str) -> Change:
    """Put something in front of all names."""
    return lambda _, shapes: {prefix + name: shape for name, shape in shapes.items()}


def heads(model: Model) -> tuple[str, ...]:
    """Top-level parts that make classes; empty where the model has none of its own."""
    if isinstance(model, TorchvisionArchitecture) and (
        not model.classifies or (model.arch_name or "").startswith("quantized_")
    ):
        return ()
    return tuple(dict.fromkeys(one.name.partition(".")[0] for one in model.class_axes))


def ten_classes(model: Model, _: Shapes) -> Shapes | None:
    """Train for other classes."""
    return model.shapes(num_classes=10) if heads(model) else None


def beheaded(model: Model, shapes: Shapes) -> Shapes | None:
    """Take the main head off."""
    of = heads(model)
    return {name: shape for name, shape in shapes.items() if name.partition(".")[0] != of[-1]} if of else None


def with_channels(count: int) -> Change:
    """Give the first convolution other input channels."""

    def change(model: Model, shapes: Shapes) -> Shapes | None:
        stem = next((name for name, shape in shapes.items() if shape and len(shape) >= 4 and shape[1] == 3), None)
        if stem is None or not heads(model):
            return None
        first = shapes[stem] or ()
        return {**shapes, stem: (first[0], count, *first[2:])}

    return change


def beside_a_projector(model: Model, shapes: Shapes) -> Shapes | None:
    """Save an encoder without its head, and a projector of another kind."""
    trunk = beheaded(model, shapes)
    if trunk is None:
        return None
    projector = {"projector.0.weight": (256, 99), "projector.0.bias": (256,), "projector.2.weight": (128, 256)}
    return {**{f"backbone.{name}": shape for name, shape in trunk.items()}, **projector}


def with_two_heads(_: Model, shapes: Shapes) -> Shapes:
    """Add two heads beside the whole model."""
    extra = {"rotation.weight": (4, 99), "rotation.bias": (4,), "jigsaw.weight": (24, 99), "jigsaw.bias": (24,)}
    return {**{f"net.{name}": shape for name, shape in shapes.items()}, **extra}


def without_counters(_: Model, shapes: Shapes) -> Shapes:
    """Save with a very old torch."""
    return {name: shape for name, shape in shapes.items() if not name.endswith("num_batches_tracked")}


def without_the_end(_: Model, shapes: Shapes) -> Shapes:
    """Lose the last fifth; no claim is right, as such weights make no model."""
    return dict(list(shapes.items())[: int(0.8 * len(shapes))])


def renamed(_: Model, shapes: Shapes) -> Shapes | None:
    """Call every module by a number."""
    modules: dict[str, int] = {}
    found = {}
    for name, shape in shapes.items():
        module, _, last = name.rpartition(".")
        found[f"{modules.setdefault(module, len(modules))}.{last}"] = shape
    return found


def in_sequence(model: Model, shapes: Shapes) -> Shapes | None:
    """Call every module by a number, and take the head off: `nn.Sequential(*children[:-1])`."""
    trunk = beheaded(model, shapes)
    return None if trunk is None else renamed(model, trunk)


CHANGES: dict[str, Change] = {
    "as published": prefixed(""),
    "module.": prefixed("module."),
    "model._orig_mod.": prefixed("model._orig_mod."),
    "encoder_q.": prefixed("encoder_q."),
    "net. and two heads": with_two_heads,
    "no num_batches_tracked": without_counters,
    "10 classes": ten_classes,
    "head removed": beheaded,
    "backbone., head removed, foreign projector": beside_a_projector,
    "1 input channel": with_channels(1),
    "4 input channels": with_channels(4),
    "other names, same order": renamed,
    "other names, same order, head removed": in_sequence,
    "last fifth of the weights lost (none is right)": without_the_end,
}

if __name__ == "__main__":
    sys.exit(main())

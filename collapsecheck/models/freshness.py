"""Weights that look as if nobody had ever trained them: equal to, or drawn like, a fresh initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from collapsecheck.models.initialisers import Initialiser, constants, initialisers

FEWEST = 1024  # elements; fewer fit some distribution of about the right scale by chance, trained or not
_SAMPLE = 20_000  # elements whose distribution is compared; extremes and moments are those of all
_ROWS, _COLUMNS = 512, 4096  # of the part whose largest singular value is taken
_LEVEL = 0.001  # probability that any of all fresh tensors of a model is taken for a trained one
_TESTS = 4
# Share of the weights that look fresh: a model that was trained keeps frozen or unused layers at most.
UNTRAINED = 0.95
_ROUNDING = 1e-2  # relative; half precision rounds a bound up by as much as 2^-8


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshTensor:
    """A tensor that looks fresh: `like` says like what.

    `p` is the probability of numbers at least as unlike a fresh draw as these, None where it is exactly the constant
    that the layer begins with.
    """

    name: str
    like: str
    elements: int
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How much of a model looks untouched.

    `drawn` were drawn like fresh weights and `constant` are exactly what their layer begins with; `trained` look like
    neither. `untested` are too small, or of a layer whose initialisation is not known. Constants are weak evidence
    each: a bias may stay at zero. `share` counts the elements of `drawn` over those of `drawn` and `trained`, [0, 1];
    0 is healthy, None where not a single tensor was tested.
    """

    drawn: tuple[FreshTensor, ...]
    constant: tuple[FreshTensor, ...]
    trained: tuple[str, ...]
    untested: tuple[str, ...]
    share: float | None


def measure_freshness(module: nn.Module) -> Freshness:
    """Compare every parameter and buffer of known layers with what their initialisation would have drawn.

    The null hypothesis for a tensor and an initialiser: its elements are independent draws. It is put to four tests:
    Kolmogorov-Smirnov (1933, 1948; Stephens' 1970 correction for finite samples) on up to 20 000 elements, the mean,
    the mean square, and the largest singular value (for matrices of 32 rows and columns or more) against the
    Tracy-Widom law (Johnstone 2001, with the gamma approximation of Chiani 2014), since training adds what is of low
    rank. For uniform distributions not a single element may lie outside. The smallest p, times four, is the
    tensor's, and the initialiser with the largest is its best. A tensor looks fresh unless p falls below 1 ‰ over the
    number of tensors: of all fresh models, one in a thousand has a tensor that is taken for trained.

    Training that hardly moved the weights can be overlooked: uniform draws are left at the first few steps, since
    some elements cross the bound, normal ones only when the update shows in their variance or spectrum.

    Parameters
    ----------
    module
        The model, with its weights loaded.
    """
    tested: dict[str, tuple[int, list[tuple[Initialiser, float]]]] = {}
    constant, untested = [], []
    for name, layer, own, tensor in _tensors(module):
        like = _equal_constant(layer, own, tensor)
        if like is not None:
            constant.append(FreshTensor(name=name, like=like, elements=tensor.numel(), p=None))
            continue
        candidates = list(initialisers(layer, own, tensor)) if tensor.numel() >= FEWEST and tensor.dim() else []
        if not candidates:
            untested.append(name)
            continue
        tested[name] = (tensor.numel(), _compared(tensor, candidates))
    bound = _LEVEL / max(len(tested), 1)
    drawn, trained = [], []
    for name, (elements, results) in tested.items():
        best, p = max(results, key=lambda result: result[1])
        if p >= bound:
            drawn.append(FreshTensor(name=name, like=best.name, elements=elements, p=p))
        else:
            trained.append(name)
    everything = sum(elements for elements, _ in tested.values())
    return Freshness(
        drawn=tuple(drawn),
        constant=tuple(constant),
        trained=tuple(trained),
        untested=tuple(untested),
        share=sum(one.elements for one in drawn) / everything if everything else None,
    )


def looks_untrained(module: nn.Module) -> bool | None:
    """Whether at least `UNTRAINED` of the numbers that can be tested look drawn; None where none can be.

    The tests of `measure_freshness`, the largest tensors first, and no further than needed: of a trained model that is
    one tensor mostly.
    """
    testable = []
    for _, layer, own, tensor in _tensors(module):
        if tensor.numel() >= FEWEST and tensor.dim() and _equal_constant(layer, own, tensor) is None:
            candidates = list(initialisers(layer, own, tensor))
            if candidates:
                testable.append((tensor, candidates))
    allowed = (1 - UNTRAINED) * sum(tensor.numel() for tensor, _ in testable)
    trained = 0
    for tensor, candidates in sorted(testable, key=lambda one: -one[0].numel()):
        if max(p for _, p in _compared(tensor, candidates)) < _LEVEL / len(testable):
            trained += tensor.numel()
        if trained > allowed:
            return False
    return bool(testable) or None


def _tensors(module: nn.Module) -> Iterator[tuple[str, nn.Module, str, torch.Tensor]]:
    """Yield (full name, layer, name in it, tensor) of floating parameters and buffers, tied ones once."""
    seen: set[int] = set()
    for path, layer in module.named_modules():
        for own, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            if nn.parameter.is_lazy(tensor) or tensor.is_meta or not tensor.is_floating_point() or not tensor.numel():
                continue
            if id(tensor) not in seen:
                seen.add(id(tensor))
                yield f"{path}.{own}" if path else own, layer, own, tensor.detach()


def _equal_constant(layer: nn.Module, own: str, tensor: torch.Tensor) -> str | None:
    first = float(tensor.reshape(-1)[0])
    if first in constants(layer, own) and bool((tensor == first).all()):
        return f"{type(layer).__name__}'s {own} at the start, {first:g} everywhere"
    return None


def _compared(tensor: torch.Tensor, candidates: list[Initialiser]) -> list[tuple[Initialiser, float]]:
    """Return the p-value of each candidate."""
    values = tensor.reshape(-1)
    if tensor.dim() == 2:  # an embedding may keep a row of zeros for padding
        used = tensor.ne(0).any(1)
        values = tensor[used].reshape(-1) if not bool(used.all()) else values
    if len(values) < FEWEST:
        return [(one, 0.0) for one in candidates]
    n = len(values)
    largest = float(values.abs().max())
    mean = float(values.sum(dtype=torch.float64)) / n
    square = float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2 / n
    if not math.isfinite(square) or not square:
        return [(one, 0.0) for one in candidates]
    ordered = values[:: max(1, n // _SAMPLE)].double().sort().values
    strongest, rows, columns = _strongest(tensor)
    rounding = 1e-6 if tensor.dtype in (torch.float32, torch.float64) else _ROUNDING
    results = []
    for one in candidates:
        if one.kind == "uniform" and largest > one.scale * (1 + rounding):
            results.append((one, 0.0))
            continue
        spread = math.sqrt((one.fourth_moment - one.second_moment**2) / n)
        parts = (
            _two_sided(mean / math.sqrt(one.second_moment / n)),
            _two_sided((square - one.second_moment) / spread),
        )
        p = min(parts)
        if p * _TESTS > 1e-12:  # most candidates fall here, the rest is slow
            p = min(p, _kolmogorov(one.cumulative(ordered)))
            if strongest is not None:
                p = min(p, _tracy_widom(strongest / one.second_moment, rows, columns))
        results.append((one, min(1.0, _TESTS * p)))
    return results


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


def _kolmogorov(probabilities: torch.Tensor) -> float:
    """P-value of sorted values whose probabilities these are, were they uniform."""
    n = len(probabilities)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    distance = float(torch.maximum(steps[1:] - probabilities, probabilities - steps[:-1]).max())
    scaled = (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * distance
    if scaled < 0.2:
        return 1.0
    series = math.fsum((-1.0) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * series))


def _strongest(tensor: torch.Tensor) -> tuple[float | None, int, int]:
    """Return the square of the largest singular value of a part of a matrix, and the sizes of that part."""
    matrix = tensor.reshape(len(tensor), -1)
    if min(matrix.shape) < 32:
        return None, 0, 0
    part = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    part = part[:_ROWS, :_COLUMNS].double()
    return float(torch.linalg.eigvalsh(part @ part.T)[-1]), *part.shape


def _tracy_widom(square: float, rows: int, columns: int) -> float:
    """Probability that the largest singular value of independent entries of variance 1 is at least this large."""
    edge = math.sqrt(columns - 1) + math.sqrt(rows)
    width = edge * (1 / math.sqrt(columns - 1) + 1 / math.sqrt(rows)) ** (1 / 3)
    shape, scale, shift = 46.446, 0.186054, 9.84801  # for real entries
    at = (square - edge**2) / width + shift
    if at <= 0:
        return 1.0
    return float(torch.special.gammaincc(torch.tensor(shape).double(), torch.tensor(at / scale).double()))

"""How the shapes of a model depend on its number of classes, and which number given weights have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collapsecheck.recognition.alignment import Shape, Shapes

_TWO_COUNTS = (7, 11)  # any two numbers of classes that no layer has by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAxis:
    """One axis of one tensor, of size `per_class` · classes + `more`."""

    name: str
    axis: int
    per_class: int
    more: int

    def size(self, classes: int) -> int:
        """Size of the axis for so many classes."""
        return self.per_class * classes + self.more

    def classes(self, shape: Shape) -> int | None:
        """Return the number of classes that a shape means, None where it means none."""
        if shape is None or len(shape) <= self.axis:
            return None
        count, rest = divmod(shape[self.axis] - self.more, self.per_class)
        return count if rest == 0 and count >= 1 else None


def class_axes(shapes_for: Callable[[int], Shapes], counts: tuple[int, int] = _TWO_COUNTS) -> tuple[ClassAxis, ...]:
    """Compare two skeletons that differ in nothing but the number of classes, the lower one first.

    This holds for heads of classifiers as well as of detectors. `shapes_for` takes a number of classes; if it refuses
    (TypeError, ValueError), the model has none.
    """
    low, high = counts
    try:
        few, many = shapes_for(low), shapes_for(high)
    except (TypeError, ValueError):
        return ()
    found = []
    for name, shape in few.items():
        other = many.get(name)
        if not shape or not other or shape == other or len(shape) != len(other):
            continue
        axis = next(axis for axis, size in enumerate(shape) if size != other[axis])
        per_class = (other[axis] - shape[axis]) // (high - low)
        if per_class >= 1:
            found.append(ClassAxis(name=name, axis=axis, per_class=per_class, more=shape[axis] - per_class * low))
    return tuple(found)


def class_count(axes: Sequence[ClassAxis], given: Shapes) -> int | None:
    """Return the number of classes of weights, by the first tensor that tells it."""
    counts = (one.classes(given.get(one.name)) for one in axes)
    return next((count for count in counts if count is not None), None)

"""What the user may say about how data is opened."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from collapsecheck.errors import UsageError

MOST_PIXELS = 178_956_970  # twice Pillow's `MAX_IMAGE_PIXELS`, where it refuses by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """What was asked for; None is not asked.

    Attributes
    ----------
    column
        Column of a table that is the input, or ending of the input's members in a tar.
    sample_rate
        Samples a second that sounds are brought to.
    seconds
        Length that sounds are brought to.
    max_pixels
        Images with more pixels count as unreadable.
    """

    column: str | None = None
    sample_rate: int | None = None
    seconds: float | None = None
    max_pixels: int | None = None

    def validate(self) -> None:
        """Refuse values that make no sense.

        Raises
        ------
        UsageError
            With the name of the option.
        """
        if self.column is not None and not self.column:
            raise UsageError("--column must be the name of a column, not an empty text")
        if self.sample_rate is not None and not 1_000 <= self.sample_rate <= 384_000:
            raise UsageError(f"--sample-rate must lie in 1000..384000 samples a second, not {self.sample_rate}")
        if self.seconds is not None and not (math.isfinite(self.seconds) and 0 < self.seconds <= 600):
            raise UsageError(f"--seconds must lie above 0 and be at most 600, not {self.seconds:g}")
        if self.max_pixels is not None and not 1 <= self.max_pixels <= MOST_PIXELS:
            raise UsageError(f"--max-pixels must lie in 1..{MOST_PIXELS}, where Pillow ends; not {self.max_pixels}")

    def given(self) -> list[str]:
        """Names of the fields that were asked for."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]


NO_OPTIONS = OpenOptions()

APPLIES_TO = {
    "column": "a table (parquet, Arrow, csv, jsonl) or a tar",
    "sample_rate": "sounds",
    "seconds": "sounds",
    "max_pixels": "images",
}


def refuse_unused(options: OpenOptions, used: frozenset[str], kind: str) -> None:
    """Say which option has no meaning for a kind of data.

    Raises
    ------
    UsageError
        For the first such option.
    """
    for name in options.given():
        if name not in used:
            raise UsageError(f"--{name.replace('_', '-')} applies to {APPLIES_TO[name]}; this data is of kind {kind}")

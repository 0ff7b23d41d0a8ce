"""Sound files to mono rows of one length and rate, without trusting the file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import resample_poly

from collapsecheck.datasets.kinds import UnreadableItemError
from collapsecheck.datasets.single_rows import SingleRows
from collapsecheck.errors import printable

LOWEST_RATE, HIGHEST_RATE = 1_000, 384_000
MOST_VALUES = 2**26  # of one file, over all channels: 256 MiB as float32


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundHeader:
    """Samples a second, samples and channels, as a file declares them."""

    rate: int
    frames: int
    channels: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.rate


class Sounds(SingleRows):
    """Sound files as rows `[samples]` of mono float32 in -1..1.

    Channels are averaged. Another rate is resampled with a polyphase filter. What is longer is cut at its end, what
    is shorter is filled with zeros at its end.
    """

    sound = True

    def __init__(self, root: Path, names: Sequence[str], *, rate: int, samples: int, resampled: bool) -> None:
        self.root, self.names = root, names
        self.rate, self.samples, self.resampled = rate, samples, resampled
        self.item_shape = (samples,)
        self.probe(0)
        self.item_shape = (samples,)

    def array(self, item: int) -> NDArray[Any]:
        """Decode one file."""
        return read_sound(self.root / self.names[item], rate=self.rate, samples=self.samples, resampled=self.resampled)


def read_header(path: Path) -> SoundHeader:
    """Read rate, length and channels.

    Raises
    ------
    UnreadableItemError
        If the file is no sound or declares what no sound has.
    """
    try:
        with soundfile.SoundFile(path) as file:
            return _header(file)
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError) as error:
        raise _unreadable(path, error) from error


def read_sound(path: Path, *, rate: int, samples: int, resampled: bool) -> NDArray[np.float32]:
    """Return `[samples]` at this rate, from the start of the file.

    Raises
    ------
    UnreadableItemError
        If the file is damaged, empty, too large or, unless it may be resampled, of another rate.
    """
    try:
        with soundfile.SoundFile(path) as file:
            header = _header(file)
            if header.rate != rate and not resampled:
                raise UnreadableItemError(f"has {header.rate} Hz, others have {rate}; bring them to one: --sample-rate")
            needed = min(header.frames, math.ceil(samples * header.rate / rate) + 1)
            if needed * header.channels > MOST_VALUES:
                raise UnreadableItemError(f"too long to be read safely: {needed} samples of {header.channels} channels")
            values = file.read(needed, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError, MemoryError) as error:
        raise _unreadable(path, error) from error
    if len(values) == 0:
        raise UnreadableItemError("holds no samples")
    if len(values) < needed:
        raise UnreadableItemError(f"is cut off: {len(values)} of {header.frames} samples")
    mono = values.mean(axis=1, dtype=np.float32)
    if header.rate != rate:
        common = math.gcd(rate, header.rate)
        mono = resample_poly(mono, rate // common, header.rate // common).astype(np.float32)
    return np.pad(mono[:samples], (0, max(0, samples - len(mono))))


def _header(file: Any) -> SoundHeader:
    if not LOWEST_RATE <= file.samplerate <= HIGHEST_RATE:
        raise UnreadableItemError(f"declares {file.samplerate} samples a second")
    if file.frames <= 0:
        raise UnreadableItemError("holds no samples")
    return SoundHeader(rate=file.samplerate, frames=file.frames, channels=file.channels)


def _unreadable(path: Path, error: Exception) -> UnreadableItemError:
    reason = str(getattr(error, "error_string", "") or error).replace(str(path), "").strip(" :'")
    return UnreadableItemError(f"cannot be decoded: {printable(reason) or type(error).__name__}")

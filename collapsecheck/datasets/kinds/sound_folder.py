"""Folders of sounds."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from collapsecheck.datasets.folders import file_names, first_bytes, folder_labels
from collapsecheck.datasets.kinds import DataKind, Items, UnreadableItemError
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions
from collapsecheck.errors import NotMeasuredError, UsageError, printable

if TYPE_CHECKING:
    from collapsecheck.datasets.sounds import SoundHeader

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus"})
HEADERS_READ = 2000  # spread over the files; what differs beyond them is counted as unreadable when it is met
NEEDED = ("soundfile", "scipy")


class SoundFolder(DataKind):
    """Sounds (wav, flac, ogg) in a folder, at any depth; class sub-folders give labels. A single sound works too."""

    options = frozenset({"sample_rate", "seconds"})
    expects = "sounds (wav flac ogg), flat or in class folders"

    def recognises(self, path: Path) -> bool:
        """A file that begins as sounds do, or a folder with a file that has a sound's suffix."""
        if path.is_dir():
            return next(file_names(path, SUFFIXES), None) is not None
        start = first_bytes(path, 12)
        return start.startswith((b"fLaC", b"OggS")) or (start[:4] in {b"RIFF", b"RF64"} and start[8:12] == b"WAVE")

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> Items:
        """List the files; rates and lengths come from their headers, unless they are given."""
        at = printable(str(path))
        if any(find_spec(name) is None for name in NEEDED):
            raise UsageError(f"{at}: sounds need soundfile and scipy: pip install 'collapsecheck[audio]'")
        from collapsecheck.datasets.sounds import Sounds

        root = path if path.is_dir() else path.parent
        names = sorted(file_names(path, SUFFIXES)) if path.is_dir() else [path.name]
        headers = _headers(root, names, at)
        rates = Counter(header.rate for header in headers)
        if options.sample_rate is None and len(rates) > 1:
            raise UsageError(f"{at}: sounds have different rates ({_shown(rates)}); bring them to one: --sample-rate N")
        rate = options.sample_rate or headers[0].rate
        lengths = {header.frames for header in headers}
        if options.seconds is not None:
            samples = max(1, round(options.seconds * rate))
        elif len({(header.frames, header.rate) for header in headers}) > 1:
            shortest, longest = min(h.seconds for h in headers), max(h.seconds for h in headers)
            raise UsageError(
                f"{at}: sounds differ in length ({shortest:.3g} to {longest:.3g} s); bring them to one: --seconds N"
            )
        else:
            samples = max(1, round(min(lengths) * rate / headers[0].rate))
        items = Sounds(root, names, rate=rate, samples=samples, resampled=options.sample_rate is not None)
        items.labels, items.classes = folder_labels(names)
        words = [f"{samples / rate:.3g} s of mono sound at {rate} Hz"]
        words += [f"resampled from {_shown(rates)}"] if set(rates) != {rate} else []
        words += ["cut or filled with zeros at the end"] if options.seconds is not None else []
        items.note = ", ".join(words)
        return items


def _headers(root: Path, names: list[str], at: str) -> list[SoundHeader]:
    """Return the headers that can be read, of files spread over all."""
    from collapsecheck.datasets.sounds import read_header

    found, reason = [], ""
    for name in names[:: max(1, len(names) // HEADERS_READ)]:
        try:
            found.append(read_header(root / name))
        except UnreadableItemError as error:
            reason = reason or f"{printable(name)}: {error}"
    if not found:
        raise NotMeasuredError(f"{at}: not one of the sounds can be read; {reason}")
    return found


def _shown(rates: Counter[int]) -> str:
    """`44100 Hz (12 files), 16000 Hz (3 files)`."""
    if len(rates) == 1:
        return f"{next(iter(rates))} Hz"
    most = rates.most_common(4)
    shown = [f"{rate} Hz ({count} files)" for rate, count in most]
    return ", ".join(shown) + (", …" if len(rates) > len(most) else "")

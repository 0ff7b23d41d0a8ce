"""WebDataset: tar shards in which files of one name are one sample."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from collapsecheck.datasets.arrays import parse_npy
from collapsecheck.datasets.folders import file_names, first_bytes
from collapsecheck.datasets.kinds import DataKind, Items, Pictures, UnreadableItemError
from collapsecheck.datasets.open_options import NO_OPTIONS, OpenOptions
from collapsecheck.datasets.own_labels import LABEL_COLUMNS, Label, OwnLabels, own_labels
from collapsecheck.datasets.pictures import PIXEL_LIMIT, read_mode, read_picture
from collapsecheck.datasets.single_rows import SingleRows
from collapsecheck.datasets.tar_members import GZIP, is_tar
from collapsecheck.datasets.tar_samples import TarSamples
from collapsecheck.errors import NotMeasuredError, UsageError, did_you_mean, printable

PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "ppm", "pgm", "bmp", "tif", "tiff", "gif"})
NEVER_DECODED = frozenset({"pyd", "pickle", "pkl", "pth", "pt"})  # pickles: decoding them would run code
COMPRESSED = (".tar.gz", ".tgz")
MOST_BYTES = 256 * 2**20  # of one input
MOST_LABEL_BYTES = 2**16


class WebdatasetTar(DataKind):
    """A tar file, or a folder of them, in the WebDataset convention: `0001.jpg` and `0001.cls` are one sample.

    Members are read where they lie in the tar, nothing is extracted. Inputs are images or .npy arrays; labels come
    from `.cls`, from the field `label` of `.json`, or from `.txt` where its texts repeat.
    """

    options = frozenset({"column", "max_pixels"})
    expects = "a WebDataset .tar or a folder of them (images or .npy; .cls, .json or .txt labels)"

    def recognises(self, path: Path) -> bool:
        """A tar header at the start of the file, or of a .tar file in the folder."""
        if path.is_dir():
            return any(is_tar(path / name) for name in file_names(path, {".tar"}))
        return is_tar(path) or _compressed(path)

    def open(self, path: Path, options: OpenOptions = NO_OPTIONS) -> Items:
        """List the samples from the headers, and read their labels."""
        at = printable(str(path))
        if path.is_file() and _compressed(path):
            raise UsageError(
                f"{at}: a compressed tar has no random access; unpack it with gunzip, the .tar itself is read"
            )
        names = sorted(file_names(path, {".tar"})) if path.is_dir() else [path.name]
        shards = [path / name if path.is_dir() else path for name in names]
        try:
            samples = TarSamples(shards, names)
        except OSError as error:
            raise UsageError(f"{at}: cannot be read: {error.strerror or error}") from error
        if not samples.names:
            raise NotMeasuredError(f"{at}: the tar holds no samples (files with a name and an ending, such as 1.jpg)")
        endings = _input_endings(samples, options.column, at)
        files = TarFiles(samples, shards, endings)
        items: Items
        if _kind(endings[0]) in PICTURES:
            items = TarPictures(files, options.max_pixels or PIXEL_LIMIT)
        else:
            items = TarRows(files)
        items.labels, items.classes = files.own.labels, files.own.classes
        items.note = f"members .{printable(options.column)} of the tar" if options.column else ""
        return items


class TarFiles:
    """The input of each sample as bytes."""

    def __init__(self, samples: TarSamples, shards: list[Path], endings: list[str]) -> None:
        self.names = samples.names
        self._shards = shards
        self._problems = samples.problems
        chosen = samples.first_with(endings)
        # -1, for no input, takes the number that is appended.
        self._shard, self._offset, self._size = (
            np.append(column, 0)[chosen] for column in (samples.shard, samples.offset, samples.size)
        )
        held = _endings_of(samples, np.flatnonzero(chosen < 0))
        for sample, others in held.items():
            self._problems.setdefault(sample, _lacking(endings, others))
        self.own = _labels(samples, shards)
        for sample in self.own.missing:
            self._problems.setdefault(sample, "has no label")

    def content(self, item: int) -> bytes:
        """Return the bytes of one input; the tar is opened for each, so that any process can."""
        if item in self._problems:
            raise UnreadableItemError(self._problems[item])
        size = int(self._size[item])
        if size > MOST_BYTES:
            raise UnreadableItemError(f"a single input of {size} bytes is too large to be read safely")
        try:
            with self._shards[self._shard[item]].open("rb") as file:
                file.seek(int(self._offset[item]))
                content: bytes = file.read(size)
        except OSError as error:
            raise UnreadableItemError(f"cannot be read: {error.strerror or error}") from error
        if len(content) < size:
            raise UnreadableItemError("the tar has become shorter than it was")
        return content


class TarPictures(Pictures):
    """Images in tar shards."""

    def __init__(self, files: TarFiles, max_pixels: int) -> None:
        self.files = files
        self.names = files.names
        self.max_pixels = max_pixels

    def read(self, item: int) -> Image.Image:
        """Decode one image."""
        return read_picture(self.files.content(item), self.max_pixels)

    def mode(self, item: int) -> str | None:
        """Read the mode in one image's header."""
        try:
            return read_mode(self.files.content(item))
        except UnreadableItemError:
            return None


class TarRows(SingleRows):
    """Arrays in tar shards."""

    def __init__(self, files: TarFiles) -> None:
        self.files = files
        self.names = files.names
        self.probe(len(files.names))

    def array(self, item: int) -> NDArray[Any]:
        """Parse one .npy."""
        content = self.files.content(item)
        try:
            return parse_npy(content)
        except Exception as error:  # NumPy parses the header as Python literals, which may fail in many ways
            raise UnreadableItemError(f"damaged .npy: {printable(str(error) or type(error).__name__)}") from error


def _compressed(path: Path) -> bool:
    return path.name.lower().endswith(COMPRESSED) and first_bytes(path, len(GZIP)) == GZIP


def _kind(ending: str) -> str:
    return ending.rpartition(".")[2]


def _input_endings(samples: TarSamples, column: str | None, at: str) -> list[str]:
    """Choose the members that are the input: the given ending, else all images, else the arrays."""
    usable = {ending: n for ending, n in samples.counts().items() if _kind(ending) in PICTURES | {"npy"}}
    if column is not None:
        wanted = column.lower().lstrip(".")
        if wanted not in usable:
            raise UsageError(
                f"{at}: no members .{printable(wanted)} that can be an input{did_you_mean(wanted, usable)}"
            )
        return [wanted]
    for kinds in (PICTURES, frozenset({"npy"})):
        found = [ending for ending in usable if _kind(ending) in kinds]
        # Some samples may hold a .jpg and others a .png, but one that holds both leaves open which is meant.
        rows = np.isin(samples.ending, [samples.endings.index(ending) for ending in found])
        if found and np.bincount(samples.sample[rows]).max() > 1:
            raise UsageError(f"{at}: samples hold several inputs; choose with --column: {', '.join(sorted(found))}")
        if found:
            return found
    if not samples.endings:  # nothing but damage: reading the items will say so
        return ["npy"]
    held = Counter(_shown(ending) for ending in samples.endings)
    raise NotMeasuredError(f"{at}: the tar holds neither images nor .npy, but {', '.join(sorted(held)[:8])}")


def _endings_of(samples: TarSamples, chosen: NDArray[np.int64]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {int(sample): [] for sample in chosen}
    for row in np.flatnonzero(np.isin(samples.sample, chosen)):
        found[int(samples.sample[row])].append(samples.endings[samples.ending[row]])
    return found


def _lacking(endings: list[str], others: list[str]) -> str:
    wanted = " or ".join(f".{printable(ending)}" for ending in endings[:4])
    return f"has no {wanted}, only {', '.join(_shown(ending) for ending in others[:8]) or 'nothing'}"


def _shown(ending: str) -> str:
    never = " (a pickle, which is never decoded)" if _kind(ending) in NEVER_DECODED else ""
    return f".{printable(ending, 40)}{never}"


def _labels(samples: TarSamples, shards: list[Path]) -> OwnLabels:
    """Take the labels of .cls, else of .json, else of .txt unless its texts hardly ever repeat (captions do not)."""
    for ending in ("cls", "json", "txt"):
        if ending not in samples.endings:
            continue
        values: list[Label] = [None] * len(samples.names)
        for sample, content in _contents(samples, shards, samples.first_with([ending])):
            values[sample] = _from_json(content) if ending == "json" else _from_text(content)
        own = own_labels(values)
        if own.labels is not None and (ending != "txt" or 2 * len(own.classes) <= len(values) - len(own.missing)):
            return own
    return own_labels([])


def _contents(samples: TarSamples, shards: list[Path], rows: NDArray[np.int64]) -> Iterator[tuple[int, bytes]]:
    """Yield sample and content of small members, with each shard opened once."""
    rows = rows[rows >= 0]
    rows = rows[samples.size[rows] <= MOST_LABEL_BYTES]
    for shard in np.unique(samples.shard[rows]):
        with shards[shard].open("rb") as file:
            for row in rows[samples.shard[rows] == shard]:
                file.seek(int(samples.offset[row]))
                yield int(samples.sample[row]), file.read(int(samples.size[row]))


def _from_text(content: bytes) -> Label:
    text = content.decode("utf-8", "replace").strip()
    return text if text and len(text) <= 200 else None


def _from_json(content: bytes) -> Label:
    try:
        held = json.loads(content)
    except (ValueError, RecursionError):
        return None
    found = (
        next((held[name] for name in (*LABEL_COLUMNS, "cls") if name in held), None) if isinstance(held, dict) else None
    )
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None

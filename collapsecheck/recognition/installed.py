"""The part of a shipped index that the installed release of the library can build."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from collapsecheck.recognition.index import Index, shipped


def installed_index(library: str) -> Index | None:
    """Return the index without models that the installed release has not; None if no index was shipped.

    Of the release that the index was made of, or without any, it is the whole index, and nothing is imported: each of
    these libraries takes seconds.
    """
    index = shipped(library)
    if index is None or release(library) in ("", index.version):
        return index
    gone = frozenset(index.names) - _names(library)
    return index.without(gone) if gone else index


def release(library: str) -> str:
    """Return which release is installed, without what follows its number (`+cu130`); "" if none is."""
    try:
        return version(library).partition("+")[0]
    except PackageNotFoundError:
        return ""


def _names(library: str) -> frozenset[str]:
    if library == "timm":
        import timm

        return frozenset(timm.list_models())
    from torchvision import models

    return frozenset(models.list_models())

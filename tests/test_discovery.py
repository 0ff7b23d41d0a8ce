from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from collapsecheck import checks
from collapsecheck.checks import Check
from collapsecheck.discovery import documentation, identifier, plugins
from collapsecheck.reports import Renderer, formats

MakePackage = Callable[..., ModuleType]


class Tool:
    """A contract for the made-up plug-ins below."""


@pytest.fixture
def make_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePackage]:
    """Write a package of plug-ins and import it; it is forgotten after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"plugins_of_{tmp_path.name}"

    def make(**files: str) -> ModuleType:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        for stem, source in files.items():
            (folder / f"{stem}.py").write_text(source)
        return importlib.import_module(name)

    yield make
    for module in [one for one in sys.modules if one.partition(".")[0] == name]:
        del sys.modules[module]


IMPORT = f"from {__name__} import Tool\n"


def test_the_name_of_the_file_is_the_id() -> None:
    assert identifier("collapsecheck.checks.mean_cosine") == "mean-cosine"
    assert identifier("plain") == "plain"


def test_one_class_per_file_is_found_in_the_order_of_the_files(make_package: MakePackage) -> None:
    package = make_package(
        second_one=IMPORT + "class B(Tool): ...", first=IMPORT + "class A(Tool): ...\nclass Helper: ..."
    )
    found = plugins(package, Tool)
    assert list(found) == ["first", "second-one"]
    assert found["first"].__name__ == "A"


def test_imported_classes_do_not_count(make_package: MakePackage) -> None:
    package = make_package(one=IMPORT + "class A(Tool): ...", two=IMPORT + "from .one import A\nclass B(A): ...")
    assert plugins(package, Tool)["two"].__name__ == "B"


@pytest.mark.parametrize(
    ("source", "count"), [("x = 1", 0), ("class A(Tool): ...\nclass B(Tool): ...", 2)], ids=["none", "two"]
)
def test_a_file_must_define_exactly_one(make_package: MakePackage, source: str, count: int) -> None:
    package = make_package(wrong=IMPORT + source)
    with pytest.raises(TypeError, match=f"wrong must define exactly one Tool, found {count}"):
        plugins(package, Tool)


def test_documentation_reads_without_importing(make_package: MakePackage) -> None:
    package = make_package(
        loud='raise RuntimeError("imported")\nclass A:\n    """What it does.\n\n    More."""', mute="class B: ..."
    )
    assert dict(documentation(package.__name__)) == {"loud": "What it does.\n\nMore.", "mute": ""}


def test_documentation_and_plugins_agree() -> None:
    assert [name for name, _ in documentation("collapsecheck.checks")] == list(plugins(checks, Check))


def test_the_formats_are_found() -> None:
    assert {"json", "text"} <= set(plugins(formats, Renderer))

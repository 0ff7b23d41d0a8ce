from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from collapsecheck import datasets
from collapsecheck.datasets import kinds, open_items
from collapsecheck.datasets.kinds import DataKind
from collapsecheck.discovery import plugins
from collapsecheck.errors import NotMeasuredError, UsageError

from .conftest import Paint


def test_a_missing_path_is_a_usage_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere: no such file or folder"):
        open_items(tmp_path / "nowhere")


def test_an_empty_folder_cannot_be_measured(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match=r"the folder is empty; expected: .*png") as caught:
        open_items(tmp_path)
    assert caught.value.exit_code == 4


def test_a_folder_without_data_lists_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(NotMeasuredError, match=r"no data that can be read; expected: .*\.npy.*images"):
        open_items(tmp_path)


def test_a_file_of_no_known_kind_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(UsageError, match=r"notes\.md: no data"):
        open_items(tmp_path / "notes.md")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(UsageError):
        open_items(tmp_path / "pipe.npy")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(NotMeasuredError):
        open_items(tmp_path)


def test_kinds_are_named_after_their_files(tmp_path: Path, paint: Paint) -> None:
    assert set(plugins(kinds, DataKind)) >= {
        "array-file",
        "arrow-table",
        "csv-table",
        "image-folder",
        "sound-folder",
        "webdataset-tar",
    }
    paint("a.png")
    assert open_items(tmp_path).kind == "image-folder"
    np.save(tmp_path / "inputs.npy", np.ones((3, 2)))
    assert open_items(tmp_path).kind == "array-file"  # a folder of arrays may hold pictures of them


def test_a_labels_file_replaces_the_labels_of_the_folders(tmp_path: Path, paint: Paint) -> None:
    for name in ("x/1.png", "x/2.png", "y/3.png"):
        paint(name)
    (tmp_path / "given.txt").write_text("b\na\nb\n")
    items = open_items(tmp_path, labels=tmp_path / "given.txt")
    assert items.labels is not None and items.labels.tolist() == [1, 0, 1]
    assert items.classes == ("a", "b")


def test_names_that_would_forge_output_are_escaped(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_items(tmp_path / "a\n\x1b[31mb")
    assert str(caught.value).isprintable()


def test_importing_the_stage_does_not_import_torch() -> None:
    code = "import collapsecheck.datasets, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_everything_public_can_be_had() -> None:
    for name in datasets.__all__:
        assert getattr(datasets, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = datasets.nothing

from __future__ import annotations

import importlib.util
import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collapsecheck.datasets import OpenOptions, open_items
from collapsecheck.datasets.kinds import Pictures, Rows, Texts, UnreadableItemError
from collapsecheck.errors import CollapsecheckError, NotMeasuredError, UsageError

from ..test_pictures import png_of_size
from .conftest import GIB, Limit, everything, picture

pa = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")
pq = pytest.importorskip("pyarrow.parquet")

COUNT = 200
X = np.random.default_rng(0).normal(size=(COUNT, 6)).astype(np.float32)
Y = [i % 3 for i in range(COUNT)]
FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": ["ant", "bee", "cat"], "_type": "ClassLabel"},
}


def write(path: Path, table: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path, row_group_size=70)
        case ".feather":
            feather.write_feather(table, path, chunksize=64)
        case _:
            with pa.ipc.new_stream(path, table.schema) as stream:
                stream.write_table(table, max_chunksize=50)
    return path


def pictures(count: int = 9, **columns: Any) -> Any:
    cells = [{"bytes": picture(i), "path": f"{i}.png"} for i in range(count)]
    return pa.table({"image": pa.array(cells), "label": [i % 3 for i in range(count)], **columns})


def save_to_disk(folder: Path, table: Any, files: int = 2) -> None:
    """The layout of Hugging Face's `Dataset.save_to_disk`."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{files:05}.arrow" for i in range(files)]
    step = -(-len(table) // files)
    for i, name in enumerate(names):
        write(folder / name, table.slice(i * step, step))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))


# ---- forms


@pytest.mark.parametrize("suffix", ["parquet", "feather", "arrow"])
@pytest.mark.parametrize("form", ["variable", "fixed", "large", "nested", "tensor", "columns"])
def test_rows_of_numbers(tmp_path: Path, suffix: str, form: str) -> None:
    flat = pa.array(X.ravel())
    cells = {
        "variable": lambda: pa.array(list(X)),
        "fixed": lambda: pa.FixedSizeListArray.from_arrays(flat, 6),
        "large": lambda: pa.array(list(X), pa.large_list(pa.float32())),
        "nested": lambda: pa.array(X.reshape(COUNT, 2, 3).tolist(), pa.list_(pa.list_(pa.float32()))),
        "tensor": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(X.reshape(COUNT, 2, 3)),
        "columns": lambda: None,
    }[form]()
    columns = {"id": range(COUNT), "vector": cells, "label": pa.array([f"c{i}" for i in Y]).dictionary_encode()}
    if form == "columns":
        del columns["vector"]
        columns |= {f"f{i}": X[:, i] for i in range(6)}
    items = open_items(write(tmp_path / f"x.{suffix}", pa.table(columns)))
    assert isinstance(items, Rows) and items.kind == "arrow-table" and len(items) == COUNT
    assert items.labels is not None and items.labels.tolist() == Y and items.classes == ("c0", "c1", "c2")
    assert items.item_shape == ((2, 3) if form in {"nested", "tensor"} else (6,))
    chosen = [5, COUNT - 1, 3, 4, 69, 70, 71, 140, 5]
    np.testing.assert_array_equal(items.rows(chosen).flatten(1).numpy(), X[chosen])
    wanted = "columns f0, f1, … (6 in all)" if form == "columns" else "column vector"
    assert items.note == f"{wanted} (labels: label)"


@pytest.mark.parametrize("suffix", ["parquet", "feather", "arrow"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    items = open_items(write(tmp_path / f"x.{suffix}", pictures(80)))
    assert isinstance(items, Pictures) and items.note == "column image (labels: label)"
    assert everything(items) == (list(range(80)), {})
    binary = pa.table({"img": [picture(i) for i in range(5)]})
    assert everything(open_items(write(tmp_path / f"y.{suffix}", binary))) == (list(range(5)), {})


@pytest.mark.parametrize("suffix", ["parquet", "feather", "arrow"])
@pytest.mark.parametrize("held", [0, 300, 10**9])
def test_any_order_with_any_memory(tmp_path: Path, suffix: str, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collapsecheck.datasets.arrow_pieces.HELD_BYTES", held)
    items = open_items(write(tmp_path / f"x.{suffix}", pa.table({"v": list(X)})))
    assert isinstance(items, Rows)
    random = np.random.default_rng(1)
    for count in (1, 1, 3, 40, COUNT, 1, 1):
        chosen = random.integers(0, COUNT, count).tolist()
        np.testing.assert_array_equal(items.rows(chosen).numpy(), X[chosen])


def test_token_ids_stay_integers(tmp_path: Path) -> None:
    items = open_items(write(tmp_path / "x.parquet", pa.table({"input_ids": [[1, 2], [3, 4]]})))
    assert isinstance(items, Rows) and items.rows([1]).tolist() == [[3, 4]] and not items.dtype.is_floating_point


def test_texts(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "text": ["one", None], "label": [0, 1]})
    items = open_items(write(tmp_path / "x.parquet", table))
    assert isinstance(items, Texts) and items.read(0) == "one"
    with pytest.raises(UnreadableItemError, match="missing"):
        items.read(1)


def test_names_of_classes_come_from_the_metadata(tmp_path: Path) -> None:
    huggingface = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    items = open_items(write(tmp_path / "x.parquet", pictures().replace_schema_metadata(huggingface)))
    assert items.classes == ("ant", "bee", "cat")
    hidden = pictures().set_column(1, "label", pa.array([-1] * 9)).replace_schema_metadata(huggingface)
    assert open_items(write(tmp_path / "y.parquet", hidden)).labels is None  # a test set whose labels are secret


def test_save_to_disk_and_its_splits(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "one", pictures(9))
    items = open_items(tmp_path / "one")
    assert everything(items) == (list(range(9)), {}) and items.classes == ("ant", "bee", "cat")
    save_to_disk(tmp_path / "both/test", pictures(4))
    save_to_disk(tmp_path / "both/train", pictures(6))
    (tmp_path / "both/dataset_dict.json").write_text(json.dumps({"splits": ["test", "train"]}))
    items = open_items(tmp_path / "both")
    assert len(items) == 6 and items.note == "split train (not test), column image (labels: label)"
    (tmp_path / "both/dataset_dict.json").write_text(json.dumps({"splits": ["test"]}))
    assert open_items(tmp_path / "both").note.startswith("split test,")


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"data/train-{i:05}-of-00002.parquet", pictures(5 + i))
    assert len(open_items(tmp_path)) == 11
    write(tmp_path / "data/test-00000-of-00001.parquet", pictures(3))
    items = open_items(tmp_path)
    assert len(items) == 11 and items.note.startswith("split train (not test)")
    write(tmp_path / "data/train-00001-of-00002.parquet", pa.table({"x": [1.0]}))
    with pytest.raises(UsageError, match="its columns differ from those of train-00000"):
        open_items(tmp_path)


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_workers_open_the_table_for_themselves(tmp_path: Path, start: str, suffix: str) -> None:
    items = open_items(write(tmp_path / f"x.{suffix}", pictures(20)))
    items.read(3)  # the parent's position in the file must not become that of the children
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(start, force=True)
    try:
        assert everything(items, workers=2) == (list(range(20)), {})
    finally:
        multiprocessing.set_start_method(before, force=True)


# ---- choice of the column


def test_the_column_must_be_given_where_several_could_be_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", pictures(vector=pa.array(list(X[:9])), score=[0.5] * 9, when=[None] * 9))
    with pytest.raises(UsageError, match=r"--column; columns: image \(images\), vector \(lists of numbers\)$"):
        open_items(path)
    items = open_items(path, options=OpenOptions(column="vector"))
    assert isinstance(items, Rows) and items.item_shape == (6,) and items.labels is not None
    with pytest.raises(UsageError, match="--column vectr: no such column; did you mean 'vector'"):
        open_items(path, options=OpenOptions(column="vectr"))
    with pytest.raises(UsageError, match="--column when holds neither images nor texts nor numbers"):
        open_items(path, options=OpenOptions(column="when"))
    two = pa.table({"premise": ["a"], "hypothesis": ["b"]})
    with pytest.raises(UsageError, match=r"premise \(texts\), hypothesis \(texts\)"):
        open_items(write(tmp_path / "y.parquet", two))


def test_options_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", pictures())
    with pytest.raises(UsageError, match="--sample-rate applies to sounds; this data is of kind arrow-table"):
        open_items(path, options=OpenOptions(sample_rate=16_000))


def test_without_pyarrow_the_install_line_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.parquet", pictures())
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "collapsecheck.datasets.kinds.arrow_table.find_spec",
        lambda name: None if name == "pyarrow" else find_spec(name),
    )
    with pytest.raises(UsageError, match=r"pip install 'collapsecheck\[arrow\]'"):
        open_items(path)


# ---- degenerate, damaged, hostile


def test_ragged_rows_and_nulls_are_unreadable(tmp_path: Path) -> None:
    cells = pa.array([[1.0, 2.0], [3.0, 4.0], [5.0], None, [6.0, None], [7.0, 8.0]])
    values, failed = everything(open_items(write(tmp_path / "x.parquet", pa.table({"v": cells}))))
    assert values == [1, 3, 7]
    assert "has the shape [1], others have [2]" in failed["2"]
    assert "null" in failed["3"] and "null" in failed["4"]


def test_pictures_that_are_missing_elsewhere_or_bombs(tmp_path: Path, memory_limit: Limit) -> None:
    bomb = png_of_size(tmp_path / "bomb.png", 14_000, 14_000).read_bytes()
    cells = [{"bytes": picture(5)}, None, {"bytes": None, "path": "/etc/passwd"}, {"bytes": bomb}, {"bytes": b"text"}]
    items = open_items(write(tmp_path / "x.parquet", pa.table({"image": pa.array(cells)})))
    with memory_limit(GIB // 2):
        values, failed = everything(items)
    assert values == [5] and "holds a path, not an image" in failed["2"] and "too large" in failed["3"]
    assert set(failed) == {"1", "2", "3", "4"}


def test_a_table_without_rows_and_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match="no rows"):
        open_items(write(tmp_path / "x.parquet", pictures(0)))
    save_to_disk(tmp_path / "saved", pictures(3))
    for name in ("data-00000-of-00002.arrow", "data-00001-of-00002.arrow"):
        (tmp_path / "saved" / name).write_bytes(b"")
    with pytest.raises(NotMeasuredError, match="empty"):
        open_items(tmp_path / "saved")


@pytest.mark.parametrize("names", [["../../secret.arrow"], ["/etc/passwd"], ["a\\b"], [""], [".."], [7], []])
def test_a_saved_data_set_names_no_file_outside_itself(tmp_path: Path, names: list[Any]) -> None:
    save_to_disk(tmp_path / "x", pictures(3))
    state = {"_data_files": [{"filename": name} for name in names]}
    (tmp_path / "x/state.json").write_text(json.dumps(state))
    with pytest.raises(CollapsecheckError, match=r"plain name inside the folder|names no data files"):
        open_items(tmp_path / "x")


def test_a_link_out_of_a_saved_data_set_is_refused(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "x", pictures(3), files=1)
    name = tmp_path / "x/data-00000-of-00001.arrow"
    name.rename(tmp_path / "elsewhere.arrow")
    name.symlink_to(tmp_path / "elsewhere.arrow")
    with pytest.raises(UsageError, match="link to outside"):
        open_items(tmp_path / "x")


def test_a_corrupt_footer(tmp_path: Path, memory_limit: Limit) -> None:
    path = write(tmp_path / "x.parquet", pictures())
    whole = path.read_bytes()
    for content in (
        whole[:-4] + b"PAR2",
        whole[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
        whole[:200],
        b"PAR1",
        whole[:-60] + b"\xff" * 52 + whole[-8:],
    ):
        path.write_bytes(content)
        with memory_limit(GIB), pytest.raises(NotMeasuredError, match="damaged table"):
            open_items(path)


def test_a_footer_that_lies_about_the_rows(tmp_path: Path, memory_limit: Limit) -> None:
    """Nine rows declared as more: in one byte of the footer, and as a number far beyond the file's size."""
    path = write(tmp_path / "x.parquet", pa.table({"v": [[float(i), 1.0] for i in range(9)]}))
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    lies = 0
    for at in range(footer, len(whole) - 8):
        if whole[at] != 18:  # 9, as the footer's encoding writes it
            continue
        path.write_bytes(whole[:at] + bytes([100]) + whole[at + 1 :])
        with memory_limit(GIB):
            try:
                values, failed = everything(open_items(path))
            except CollapsecheckError:
                lies += 1
                continue
        assert len(values) <= 9 and values == list(range(len(values)))
        lies += bool(failed)
    assert lies > 0


def test_a_terabyte_of_rows_is_refused(tmp_path: Path) -> None:
    from collapsecheck.datasets.arrow_parts import DamagedTableError, check_counts

    path = write(tmp_path / "x.parquet", pictures())
    with pytest.raises(DamagedTableError, match="declares 1000000000000 rows"):
        check_counts([10**12], path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=6))
def test_damage_to_a_mapped_stream_is_contained(tmp_path: Path, at: int, noise: bytes) -> None:
    """Offsets that point outside are found before they are followed."""
    path = write(tmp_path / "hit.arrow", pictures(6))
    content = bytearray(path.read_bytes())
    at %= len(content)
    content[at : at + len(noise)] = noise
    path.write_bytes(content)
    try:
        everything(open_items(path))
    except CollapsecheckError as error:
        assert str(error)

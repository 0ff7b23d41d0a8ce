from __future__ import annotations

import pickle
import struct
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import torch

from collapsecheck.checkpoints import StoredTensor, read_checkpoint
from collapsecheck.errors import NotLoadableError
from tests.checkpoints import corpus
from tests.checkpoints.conftest import Touch


def dumped(*values: object) -> bytes:
    return b"".join(value if isinstance(value, bytes) else pickle.dumps(value, protocol=2) for value in values)


def packed(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w:") as archive:
        for name, held in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(held)
            archive.addfile(info, BytesIO(held))
    return path


class Number:
    """Pickled as a reference to a tensor."""


class References(pickle.Pickler):
    def persistent_id(self, obj: object) -> str | None:
        return "7" if isinstance(obj, Number) else None


def content() -> bytes:
    buffer = BytesIO()
    References(buffer, protocol=2).dump({"weight": Number()})
    return buffer.getvalue()


def one_tensor(
    *,
    numel: int = 4,
    declared: int | None = None,
    shape: tuple[int, ...] = (2, 2),
    strides: tuple[int, ...] = (2, 1),
    offset: int = 0,
    dimensions: int | None = None,
    views: object = (),
    root: int = 1,
) -> dict[str, bytes]:
    length = struct.pack("<q", numel if declared is None else declared)
    storages = dumped(1, (1, "cpu", torch.FloatStorage), length + struct.pack(f"<{numel}f", *range(numel)), list(views))  # type: ignore[call-overload]
    head = struct.pack("<ii", len(shape) if dimensions is None else dimensions, 0)
    sizes = struct.pack(f"<{len(shape)}q", *shape) + struct.pack(f"<{len(strides)}q", *strides)
    tensors = dumped(1, (7, root, torch.FloatTensor), head + sizes + struct.pack("<q", offset))
    return {"storages": storages, "tensors": tensors, "pickle": content()}


def test_the_weights_are_those_that_torch_loads(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    corpus.torch_tar(path)
    found = read_checkpoint(path)
    expected = torch.load(path, weights_only=False)
    assert found.format == "torch-tar"
    assert list(found.content) == list(expected)
    assert all(torch.equal(found.content[name].tensor(), value) for name, value in expected.items())


def test_a_view_of_a_storage(tmp_path: Path) -> None:
    path = packed(tmp_path / "model.pt", **one_tensor(numel=6, views=[(2, 1, 2, 4)], root=2))
    expected = torch.load(path, weights_only=False)["weight"]
    assert torch.equal(read_checkpoint(path).content["weight"].tensor(), expected)
    assert expected.tolist() == [[2.0, 3.0], [4.0, 5.0]]


@pytest.mark.parametrize("member", ["storages", "tensors", "pickle"])
def test_a_hostile_pickle_in_any_member_runs_nothing(tmp_path: Path, marker: Path, member: str) -> None:
    path = packed(tmp_path / "model.pt", **one_tensor() | {member: pickle.dumps(Touch(marker), protocol=2)})
    with pytest.raises(NotLoadableError, match="dangerous-global"):
        read_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "members",
    [
        one_tensor(declared=1 << 40),
        one_tensor(declared=-1),
        one_tensor(shape=(3, 3)),
        one_tensor(shape=(1 << 40, 1 << 40)),
        one_tensor(shape=(-2, -2)),
        one_tensor(strides=(-1, 1)),
        one_tensor(strides=(1 << 62, 1)),
        one_tensor(offset=1),
        one_tensor(offset=-1),
        one_tensor(dimensions=-1),
        one_tensor(dimensions=1 << 30),
        one_tensor(root=9),
        one_tensor(views=[(2, 1, 2, 40)]),
        one_tensor(views=[(2, 9, 0, 1)]),
        one_tensor(views=["x"]),
        one_tensor() | {"storages": dumped(1 << 60)},
        one_tensor() | {"storages": dumped("many")},
        one_tensor() | {"storages": b""},
        one_tensor() | {"tensors": dumped(1, (7, 1))},
        one_tensor() | {"pickle": b"\x80\x02X\x01\x00\x00\x008Q."},
        one_tensor() | {"pickle": b"\x80\x02K\x00."},
    ],
    ids=range(21),
)
def test_what_is_damaged_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(packed(tmp_path / "model.pt", **members))
    assert str(caught.value).isprintable()


def test_a_view_that_repeats_numbers_is_left_out(tmp_path: Path) -> None:
    """Stride 0 on 16 bytes declares any size; the numbers are not made."""
    path = packed(tmp_path / "model.pt", **one_tensor(shape=(1 << 20, 1 << 20), strides=(0, 0)))
    found = read_checkpoint(path)
    assert [note.id for note in found.notes] == ["overlapping-tensor"]
    assert not isinstance(found.content["weight"], StoredTensor)

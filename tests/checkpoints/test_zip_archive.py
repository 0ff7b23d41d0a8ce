"""Archives that two readers could read in two ways."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collapsecheck.checkpoints.zip_archive import kind_of_zip, open_archive
from collapsecheck.errors import NotLoadableError

Write = Callable[[str, bytes], Path]


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = comment
    return buffer.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        open_archive(path)
    assert kind_of_zip(path) == "damaged"
    assert str(caught.value).isprintable()
    return str(caught.value)


HONEST = {"m/data.pkl": b"\x80\x02}.", "m/data/0": b"0123", "m/version": b"3\n"}


def test_members_are_where_they_are_said_to_be(write: Write) -> None:
    archive = open_archive(write("a.zip", packed(HONEST, comment=b"a comment")))
    assert archive.root == "m/"
    assert list(archive.members) == ["data.pkl", "data/0", "version"]
    offset, size = archive.span("data/0")
    assert archive.path.read_bytes()[offset : offset + size] == archive.content("data/0") == b"0123"


def test_a_comment_that_looks_like_the_end_of_an_archive(write: Write) -> None:
    inner = packed({"m/other": b""})
    refusal(write("a.zip", packed(HONEST, comment=inner)))


@pytest.mark.parametrize(
    ("names", "root"), [(["a", "b"], ""), (["a/b", "c"], ""), (["a/b", "c/d"], ""), (["a/b", "a/c/d"], "a/"), ([], "")]
)
def test_the_folder_that_holds_everything(write: Write, names: list[str], root: str) -> None:
    archive = open_archive(write("a.zip", packed(dict.fromkeys(names, b""))))
    assert archive.root == root
    assert [archive.root + name for name in archive.members] == names


def test_folders_are_no_members(write: Write) -> None:
    assert list(open_archive(write("a.zip", packed({"m/": b"", "m/a": b"1"}))).members) == ["a"]


def test_large_numbers(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)  # as torch writes all of its archives
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    content = packed(HONEST)
    assert b"PK\x06\x06" in content
    assert open_archive(write("a.zip", content)).content("data/0") == b"0123"
    at = content.index(b"PK\x06\x06")
    for place, value in ((32, 2), (40, 7), (48, 1)):  # entries, bytes and start of the directory
        changed = bytearray(content)
        struct.pack_into("<Q", changed, at + place, value)
        refusal(write("b.zip", bytes(changed)))


def test_unpacking_stops_at_what_was_declared(write: Write) -> None:
    content = packed({"m/code.py": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    archive = open_archive(write("a.zip", content))
    assert archive.content("code.py") == bytes(1 << 20)
    with pytest.raises(NotLoadableError, match="expected at most 1,000"):
        archive.content("code.py", limit=1000)
    with pytest.raises(NotLoadableError, match="is compressed"):
        archive.span("code.py")
    smaller = content.replace(struct.pack("<L", 1 << 20), struct.pack("<L", 10))
    with pytest.raises(NotLoadableError, match="truncated or damaged"):
        open_archive(write("b.zip", smaller)).content("code.py")


def test_other_compressions(write: Write) -> None:
    archive = open_archive(write("a.zip", packed({"m/a": b"a" * 100}, zipfile.ZIP_LZMA)))
    with pytest.raises(NotLoadableError, match="compressed in an unusual way"):
        archive.content("a")


def test_a_member_that_is_missing(write: Write) -> None:
    archive = open_archive(write("a.zip", packed(HONEST)))
    for read in (archive.content, archive.span):
        with pytest.raises(NotLoadableError, match=r"m/data/\\x1b1 is missing"):
            read("data/\x1b1")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice(write: Write) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", b"1")
        archive.writestr("m/data.pkl", b"2")
    assert "twice" in refusal(write("a.zip", buffer.getvalue()))


@pytest.mark.parametrize("name", ["../x", "m/../x", "/x", "m//x", "m/./x", "m\\x", "C:\\x", "..", "."])
def test_names_that_lead_elsewhere(write: Write, name: str) -> None:
    assert "outside the archive" in refusal(write("a.zip", packed({"m/a": b"", name: b"x"})))


def test_bytes_in_front(write: Write) -> None:
    content = packed(HONEST)
    assert zipfile.is_zipfile(write("a.zip", b"PK\x03\x04junk" + content))
    refusal(write("a.zip", b"PK\x03\x04junk" + content))


def test_members_that_nobody_lists(write: Write) -> None:
    """Bytes between two members could be a member to a reader that goes through the file from its start."""
    content = packed({"m/hidden": b"1", "m/data.pkl": b"2"})
    begin = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", begin + 4)
    end = bytearray(content[content.index(b"PK\x05\x06") :])
    directory = content[second : len(content) - len(end)]
    struct.pack_into("<2H2L", end, 8, 1, 1, len(directory), begin)
    assert "in front" in refusal(write("a.zip", content[:begin] + directory + bytes(end)))


def _changed(at: int, form: str, value: int, where: bytes = b"PK\x01\x02") -> bytes:
    content = bytearray(packed(HONEST))
    struct.pack_into(form, content, content.index(where, 50 if where == b"PK\x03\x04" else 0) + at, value)
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        _changed(20, "<L", 1 << 30),  # packed size
        _changed(24, "<L", 1 << 30),  # size of a member that is not packed
        _changed(42, "<L", 60),  # where its header is
        _changed(10, "<H", 8),  # compressed, in the directory alone
        _changed(26, "<H", 3, b"PK\x03\x04"),  # a shorter name in front of the member
        _changed(30, "<B", ord("x"), b"PK\x03\x04"),  # another name there
        _changed(28, "<H", 60_000, b"PK\x03\x04"),  # a longer field of notes there
        _changed(8, "<H", 9, b"PK\x03\x04"),  # another compression there
        _changed(16, "<L", 1 << 31, b"PK\x05\x06"),  # start of the directory
        _changed(12, "<L", 1 << 31, b"PK\x05\x06"),  # its length
        _changed(10, "<H", 60_000, b"PK\x05\x06"),  # entries
        _changed(10, "<H", 2, b"PK\x05\x06"),
        _changed(20, "<H", 9, b"PK\x05\x06"),  # length of the comment
    ],
)
def test_a_directory_that_does_not_agree(write: Write, content: bytes) -> None:
    refusal(write("a.zip", content))


def test_members_that_overlap(write: Write) -> None:
    """A quine of a few kilobytes can hold petabytes when members share their bytes."""
    content = bytearray(packed({"m/a": b"x" * 100, "m/b": b"x" * 100}))
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 4)
    struct.pack_into("<L", content, second + 42, 0)
    refusal(write("a.zip", bytes(content)))


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["m/archive_format", "m/constants.pkl", "m/data.pkl"], "torch_export"),
        (["serialized_exported_program.json"], "torch_export"),
        (["m/constants.pkl", "m/data.pkl", "m/code/__torch__.py"], "torchscript"),
        (["m/data.pkl", "m/data/0"], "torch"),
        (["a.npy", "b.npy"], "npz"),
        (["config.json", "metadata.json", "model.weights.h5"], "keras"),
        (["readme.txt"], "other"),
        ([], "empty"),
    ],
)
def test_kinds(write: Write, names: list[str], kind: str) -> None:
    assert kind_of_zip(write("a.zip", packed(dict.fromkeys(names, b"x")))) == kind


def test_a_file_that_is_written_anew_is_read_anew(write: Write) -> None:
    assert kind_of_zip(write("a.zip", packed({"a.npy": b""}))) == "npz"
    assert kind_of_zip(write("a.zip", packed({"m/data.pkl": b""}))) == "torch"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_does_not_matter(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(packed(HONEST))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(content)
    try:
        archive = open_archive(path)
        for name, member in archive.members.items():
            assert member.offset + member.packed <= len(content)
            archive.content(name)
    except NotLoadableError as error:
        assert str(error).isprintable()

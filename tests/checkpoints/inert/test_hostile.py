"""Files that try something. Each is read in a child with little memory in which no effect goes unseen."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import pickletools
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from collapsecheck.checkpoints import Name, Stand, read_checkpoint
from collapsecheck.errors import NotLoadableError
from tests.checkpoints.inert.conftest import Guarded, Stored

FLOAT = b"ctorch\nFloatStorage\n"


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def refusal(path: Path) -> str:
    with pytest.raises(NotLoadableError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.isprintable()
    return message


def text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    return b"\x8a" + bytes([9]) + value.to_bytes(9, "little", signed=True)


def tensor(
    *,
    numel: int = 4,
    offset: int = 0,
    size: tuple[int, ...] = (4,),
    stride: tuple[int, ...] = (1,),
    key: str = "0",
    kind: bytes = FLOAT,
) -> bytes:
    """The instructions that torch writes for a tensor."""
    storage = b"(" + text("storage") + kind + text(key) + text("cpu") + number(numel) + b"tQ"
    sizes = b"(" + b"".join(map(number, size)) + b"t" + b"(" + b"".join(map(number, stride)) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + sizes + b"\x89}tR"


def state_dict(**tensors: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(text(name) + held for name, held in tensors.items()) + b"u."


# --- code


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_call_in_a_state_dict(tmp_path: Path, guarded: Guarded, protocol: int, legacy: bool) -> None:
    marker, path = tmp_path / "ran", tmp_path / "model.pt"
    for attack in (
        Call(os.system, f"touch {marker}"),
        Call(os.mkdir, str(marker)),
        Call(eval, f"open({marker!r}, 'w')"),
    ):
        content = {"w": torch.ones(2), "x": attack}
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
        assert "which could only be an attack" in refusal(path)
    assert guarded(path).startswith("REFUSED")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("instructions", "said"),
    [
        (b"c__builtin__\neval\n" + text("1") + b"\x85R", "names builtins.eval, which could only be an attack"),
        (b"ctorch.utils.collect_env\nrun\n" + text("id") + b"\x85R", "names torch.utils.collect_env.run"),
        (b"(" + text("id") + b"ios\nsystem\n", "names os.system"),
        (b"(cos\nsystem\n" + text("id") + b"o", "names os.system"),
        (text("os") + text("system") + b"\x93" + text("id") + b"\x85R", "names os.system"),
        (text("torch") + text("serialization.os.system") + b"\x93", "torch.serialization.os.system"),
        (b"cfunctools\npartial\ncos\nsystem\n" + text("id") + b"\x86R", "names os.system"),
        (b"c__builtin__\ngetattr\ncposixpath\nos\n" + text("system") + b"\x86R", "names posixpath.os.system"),
        (b"cos\nsystem\nR", "names os.system"),  # and then stumbles: the name is what matters
        (b"\x82\x01", "a registry of classes"),
        (b"\x83\x01\x01", "a registry of classes"),
        (b"\x84\x01\x01\x01\x01", "a registry of classes"),
        (b"\x97", "buffers that the file does not hold"),
        (b"ccollections\nOrderedDict\n}b", "changes a class"),
        (b"ccollections\nOrderedDict\nN}\x86b", "changes a class"),
        (b"}}b", "gives attributes to what has none"),
        (b"]}b", "gives attributes to what has none"),
        (b"K\x01)R", "calls what is no name"),
        (b"ccollections\nOrderedDict\n]R", "calls what is no name"),
        (b"ca\nb\n)R)R", "calls what is no name"),
        (text("storage") + b"Q", "something else than a storage"),
        (b"Pstorage\n", "something else than a storage"),
        (b"(" + text("module") + b"K\x01NNtQ", "something else than a storage"),
        (b"K\x01K\x02K\x02s", "sets entries of what is no dict"),
        (b"]K\x02K\x02s", "sets entries of what is no dict"),
        (b"K\x01K\x02a", "adds to what is no list"),
        (b"}K\x02a", "adds to what is no list"),
        (b"](K\x02\x90", "adds to what is no set"),
        (b"}(K\x02u", "a key without a value"),
        (b"q\x00", "found nothing to work on"),
        (b"}r\xff\xff\xff\x7f", "memo has gaps"),
        (b"}p-1\n", "memo has gaps"),
        (b"h\x07", "memo lacks an entry"),
        (b"\x96" + struct.pack("<Q", 6 << 30), "a length goes past its end"),
        (b"X" + struct.pack("<I", 0xFFFFFFFF), "a length goes past its end"),
        (b"\x8d" + struct.pack("<Q", 1 << 62), "a length goes past its end"),
        (b"\x8e" + struct.pack("<Q", 1 << 62), "a length goes past its end"),
        (b"\x95" + struct.pack("<Q", 1 << 62), "a length goes past its end"),
        (b"\x8b" + struct.pack("<I", 0x7FFFFFFF), "a number is too long"),
        (b"I" + b"9" * 100_000 + b"\n", "a number is too long"),
        (b"F1e\n", "could not convert"),
        (b"Iabc\n", "invalid literal"),
        (b"S'\n", "a text without quotes"),
        (b"V\\uqq\n", "decode"),
        (b"X\x01\x00\x00\x00\xff", "decode"),
        (b"ca\n" + b"b" * 600 + b"\n", "the name of a class is none"),
        (b"K\x01K\x01\x93", "the name of a class is none"),
        (b"\x80\x09", "pickle protocol 9"),
        (b"\xfe", "no pickle of weights has, 0xfe"),
        (b"0", "found nothing to work on"),
        (b"\x87", "found nothing to work on"),
        (b"(\x85", "found nothing to work on"),
        (b"t", "found nothing to work on"),
    ],
)
def test_instructions_that_no_honest_pickle_has(stored: Stored, instructions: bytes, said: str) -> None:
    path = stored(b"\x80\x04" + instructions + b"0" + state_dict(w=tensor())[2:], {"0": bytes(16)})
    assert said in refusal(path)


def test_no_instruction_is_unknown_to_the_table() -> None:
    """Every one that Python's own reader knows is read, or refused with its own reason."""
    from collapsecheck.checkpoints.inert.instructions import INSTRUCTIONS

    unknown = INSTRUCTIONS[0]
    missing = [op.name for op in pickletools.opcodes if INSTRUCTIONS[ord(op.code)] is unknown]
    assert missing == ["STOP"]


def test_a_harmless_call_is_a_record(stored: Stored) -> None:
    path = stored(b"\x80\x02}" + text("a") + b"cfunctools\npartial\nctorch.nn\nReLU\n\x85Rs" + b".")
    checkpoint = read_checkpoint(path)
    stand = checkpoint.content["a"]
    assert isinstance(stand, Stand)
    assert (stand.path, stand.arguments) == ("functools.partial", (Name("torch.nn.ReLU"),))
    assert [note.id for note in checkpoint.notes] == ["unknown-class-ignored"]
    assert checkpoint.notes[0].names == ("functools.partial", "torch.nn.ReLU")


# --- memory and time


@pytest.mark.parametrize(
    "instructions",
    [
        b"]" + b"".join(b"q%c](h%ch%ce" % (i, i, i) for i in range(40)),
        b"]" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(40)),
        b"}" + b"K\x01" + b"2\x86" * 40 + b"K\x01s",  # a tuple of 2⁴⁰ parts as a key
        b"\x8f(K\x01" + b"2\x86" * 40 + b"\x90",  # and in a set
        b"(K\x01" + b"2\x86" * 40 + b"\x91",
        b"c__builtin__\nset\n]K\x01" + b"2\x86" * 40 + b"a\x85R",
        b"]q\x00h\x00a",  # a list that holds itself
        b"}q\x00" + text("a") + b"h\x00s",
        b"]q\x00(h\x00tq\x01ah\x01",  # a tuple that holds itself, through a list
        b"]" * 200_000,
        b"K\x01" + b"\x85" * 200_000,
        b"(" * 200_000,
        b"ca\nb\nq\x00" * 100_000 + b")R" + b"\x85R" * 99_999,  # objects in objects
    ],
)
def test_nesting_takes_no_time(stored: Stored, guarded: Guarded, instructions: bytes) -> None:
    path = stored(b"\x80\x04" + instructions + b".")
    begin = time.process_time()
    with contextlib.suppress(NotLoadableError):  # some are dicts, though without weights
        read_checkpoint(path)
    assert time.process_time() - begin < 5
    inside = stored(b"\x80\x04}" + text("x") + instructions + b"s" + text("w") + tensor() + b"s.", {"0": bytes(16)})
    assert guarded(inside).startswith(("READ", "REFUSED"))


@pytest.mark.parametrize(
    "instructions",
    [
        text("x" * 1_000_000) + b"q\x000" + b"c_codecs\nencode\nq\x010" + text("latin1") + b"q\x020"
        + b"]q\x030" + b"h\x03h\x01h\x00h\x02\x86Ra0" * 20_000 + b"h\x03",
        b"](" + b"N" * 500_000 + b"eq\x000" + b"c__builtin__\nlist\nq\x010" + b"h\x01h\x00\x85R" * 20_000,
        b"](" + b"N" * 500_000 + b"eq\x000" + b"ctorch\nSize\nq\x010" + b"h\x01h\x00\x85R" * 20_000,
        b"}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(100_000)) + b"uq\x000"
        + b"ccollections\nCounter\nq\x010" + b"h\x01h\x00\x85R" * 20_000,
        text("x" * 1_000_000) + b"q\x000cpathlib\nPosixPath\nq\x010" + b"h\x01h\x00\x85R" * 20_000,
        b"B" + struct.pack("<I", 1_000_000) + bytes(1_000_000) + b"q\x000c__builtin__\nbytearray\nq\x010"
        + b"h\x01h\x00\x85R" * 20_000,
    ],
    ids=["encode", "list", "size", "counter", "path", "bytearray"],
)  # fmt: skip
def test_what_is_copied_is_bounded(stored: Stored, guarded: Guarded, instructions: bytes) -> None:
    path = stored(b"\x80\x03" + instructions + b".")
    assert "asks for far more memory than it has bytes" in guarded(path)


def test_a_bytearray_of_a_number_is_not_made(stored: Stored, guarded: Guarded) -> None:
    path = stored(b"\x80\x03}" + text("a") + b"c__builtin__\nbytearray\n" + number(1 << 40) + b"\x85Rs.")
    assert guarded(path).startswith("READ")


def test_too_many_instructions(stored: Stored, guarded: Guarded) -> None:
    assert "more than 5,000,000 instructions" in guarded(stored(b"\x80\x02" + b"N0" * 2_600_000 + b"."))


def test_too_many_names(stored: Stored) -> None:
    names = b"".join(b"ca\nb%d\n0" % i for i in range(10_001))
    assert "names more than 10,000 classes" in refusal(stored(b"\x80\x02" + names + b"}."))


def test_a_pickle_of_more_bytes_than_allowed(tmp_path: Path, stored: Stored) -> None:
    path = stored(b"\x80\x03B" + struct.pack("<I", 65 << 20) + bytes(65 << 20) + b".")
    assert "expected at most 67,108,864" in refusal(path)


# --- tensors


@pytest.mark.parametrize(
    ("held", "stored_bytes", "said"),
    [
        (tensor(numel=1 << 40), 16, "tensor-out-of-bounds"),  # 4 TiB declared, 16 bytes stored
        (tensor(numel=3), 16, "tensor-out-of-bounds"),
        (tensor(offset=1), 16, "tensor-out-of-bounds"),
        (tensor(offset=1 << 60), 16, "tensor-out-of-bounds"),
        (tensor(offset=-1, size=(2,)), 16, "tensor-out-of-bounds"),
        (tensor(size=(5,)), 16, "tensor-out-of-bounds"),
        (tensor(size=(2, 2), stride=(3, 1)), 16, "tensor-out-of-bounds"),
        (tensor(size=(2,), stride=(-1,)), 16, "tensor-out-of-bounds"),
        (tensor(size=(-1,)), 16, "tensor-out-of-bounds"),
        (tensor(size=(2, 2)), 16, "tensor-out-of-bounds"),  # fewer strides than sizes
        (tensor(size=(1,) * 65, stride=(1,) * 65), 16, "tensor-out-of-bounds"),
        (tensor(size=(0, 1 << 63), stride=(1, 1)), 16, "tensor-out-of-bounds"),
        (tensor(size=(0, 1 << 61, 1 << 61), stride=(1, 1, 1)), 16, "tensor-out-of-bounds"),
        (tensor(numel=-4), 16, "something else than a storage"),
        (tensor(key="../x"), 16, "something else than a storage"),
        (tensor(key="٣"), 16, "something else than a storage"),
        (tensor(key="7"), 16, "the member m/data/7 is missing"),
        (tensor(kind=b"cos\nStorage\n"), 16, "names os.Storage"),
        (tensor(kind=b"cfoo\nFloatStorage\n"), 16, "something else than a storage"),
        (tensor(kind=b"ctorch\nFooStorage\n"), 16, "something else than a storage"),
    ],
)  # fmt: skip
def test_tensors_that_are_not_in_the_file(
    stored: Stored, guarded: Guarded, held: bytes, stored_bytes: int, said: str
) -> None:
    assert said in refusal(stored(state_dict(w=held), {"0": bytes(stored_bytes)}))


def test_a_view_that_declares_a_terabyte(stored: Stored, guarded: Guarded) -> None:
    huge = tensor(size=(1 << 20, 1 << 20), stride=(0, 0))
    path = stored(state_dict(a=huge, b=tensor()), {"0": bytes(16)})
    assert guarded(path).startswith("READ")
    checkpoint = read_checkpoint(path)
    assert isinstance(checkpoint.content["a"], Stand)
    assert checkpoint.content["b"].tensor().tolist() == [0, 0, 0, 0]
    assert [note.id for note in checkpoint.notes] == ["overlapping-tensor"]


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(
    "made",
    [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.eye(3).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        lambda: torch.ones(2, device="meta"),
        lambda: torch.ones(2, dtype=torch.complex64).conj(),
    ],
    ids=["sparse", "csr", "quantised", "nested", "meta", "conjugated"],
)
@pytest.mark.filterwarnings("ignore")
def test_special_tensors_are_named_and_left_out(tmp_path: Path, made: Callable[[], torch.Tensor]) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": made(), "b": torch.ones(2)}, path)
    checkpoint = read_checkpoint(path)
    assert isinstance(checkpoint.content["a"], Stand)
    assert checkpoint.content["b"].tensor().tolist() == [1, 1]
    assert "unsupported-tensor" in [note.id for note in checkpoint.notes]


def test_sparse_indices_out_of_range_are_never_used(tmp_path: Path, guarded: Guarded) -> None:
    path = tmp_path / "model.pt"
    sparse = torch.sparse_coo_tensor(torch.tensor([[7]]), torch.ones(1), (8,), check_invariants=True)
    torch.save({"a": sparse}, path)
    content = path.read_bytes()
    at = content.index(struct.pack("<q", 7))
    path.write_bytes(content[:at] + struct.pack("<q", 1 << 40) + content[at + 8 :])
    assert guarded(path).startswith("READ")


def test_an_empty_tensor_may_begin_anywhere(stored: Stored) -> None:
    path = stored(state_dict(a=tensor(offset=1 << 50, size=(0, 1 << 40), stride=(1, 1))), {"0": bytes(16)})
    assert read_checkpoint(path).content["a"].tensor().shape == (0, 1 << 40)


# --- texts


@pytest.mark.parametrize(
    "key", ["<script>", "\x1b[2J", "a\nb", "\0", "\ud800", "k" * 1_000_000, "../x", "", "\u202e"], ids=range(9)
)
def test_keys_that_are_odd(stored: Stored, key: str) -> None:
    path = stored(state_dict(**{"w": tensor()}).replace(text("w"), text(key)), {"0": bytes(16)})
    assert list(read_checkpoint(path).content) == [key]


def test_names_that_are_odd_cannot_forge_output(stored: Stored) -> None:
    path = stored(b"\x80\x04}" + text("a") + text("os") + text("\x1b[2Jsystem\n") + b"\x93s.")
    assert "os.\\x1b[2Jsystem\\n" in refusal(path)


def test_pickles_that_python_reads_are_read_alike(tmp_path: Path, stored: Stored) -> None:
    """Keys that are no plain values are kept beside the others."""
    content = {"a": 1, (1, 2): "pair", b"b": "bytes", 1 << 70: "large", 2: "two", None: "none", 1.5: "float", True: "t"}
    for protocol in range(6):
        buffer = io.BytesIO()
        pickle.dump(content, buffer, protocol)
        read = read_checkpoint(stored(buffer.getvalue())).content
        assert dict(read) == {"a": 1, 2: "two", None: "none", 1.5: "float", True: "t"}
        assert read.pairs == [((1, 2), "pair"), (b"b", "bytes"), (1 << 70, "large")]

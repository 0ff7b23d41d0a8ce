"""Hostile files through the whole command: refused with exit code 3 or contained, nothing run, memory bounded."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.checkpoints import corpus
from tests.checkpoints.conftest import Touch
from tests.checkpoints.inert.test_hostile import state_dict, tensor, text
from tests.datasets.kinds.conftest import memory_limit  # noqa: F401 - a fixture

from .conftest import Call

CEILING = 512 * 2**20  # above what the process has: none of these files declares less than a gibibyte, or holds more

Make = Callable[[Path, Path], None]


def zipped(path: Path, pickled: bytes, storages: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickled)
        archive.writestr("m/byteorder", b"little")
        for key, content in storages.items():
            archive.writestr(f"m/data/{key}", content, method)
        archive.writestr("m/version", b"3\n")


def code_in_a_zip(path: Path, marker: Path) -> None:
    torch.save({"w": torch.ones(2), "x": Touch(marker)}, path)


def code_in_a_legacy_file(path: Path, marker: Path) -> None:
    torch.save({"w": torch.ones(2), "x": Touch(marker)}, path, _use_new_zipfile_serialization=False)


def code_in_a_plain_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"w": torch.ones(2), "x": Touch(marker)}))


def code_in_shards_of_a_directory(path: Path, marker: Path) -> None:
    corpus.huggingface_pickled(path)
    code_in_a_zip(path / "pytorch_model.bin", marker)


def code_in_metadata_of_dcp(path: Path, marker: Path) -> None:
    corpus.dcp(path)
    (path / ".metadata").write_bytes(pickle.dumps(Touch(marker)))


def code_in_an_exported_program(path: Path, marker: Path) -> None:
    corpus.exported(path)
    saved = io.BytesIO()
    torch.save(Touch(marker), saved)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, saved.getvalue() if "sample_inputs" in name else content)


class Writes(nn.Module):
    def __init__(self, marker: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.marker = marker

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.weight, self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        self.marker = state[1]
        self.training = state[2]
        self.weight = state[0] + torch.from_file(self.marker, True, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def code_in_torchscript(path: Path, marker: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Writes(str(marker))), path)


def a_deflated_gibibyte(path: Path, _: Path) -> None:
    pickled = state_dict(w=tensor(numel=2**28, size=(2**28,)))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickled)
        archive.writestr("m/version", b"3\n")
        with archive.open(zipfile.ZipInfo("m/data/0"), "w", force_zip64=True) as member:
            member.write(b"\0")
    zipped(path, pickled, {"0": bytes(2**24)}, zipfile.ZIP_DEFLATED)


def a_zip_in_a_zip(path: Path, marker: Path) -> None:
    inner = path.with_suffix(".inner")
    code_in_a_zip(inner, marker)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "m/model.pt")


def more_declared_than_there_is(path: Path, _: Path) -> None:
    zipped(path, state_dict(w=tensor(numel=2**40, size=(2**40,))), {"0": bytes(16)})


def more_declared_in_a_legacy_file(path: Path, _: Path) -> None:
    torch.save({"w": torch.ones(4)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    path.write_bytes(content[:-24] + struct.pack("<q", 2**34) + content[-16:])


def a_giant_of_stride_zero(path: Path, _: Path) -> None:
    zipped(path, state_dict(w=tensor(size=(2**20, 2**20), stride=(0, 0))), {"0": bytes(16)})


def a_list_doubled_forty_times(path: Path, _: Path) -> None:
    doubled = b"]q\x00" + b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(40))
    zipped(path, b"\x80\x02}(" + text("w") + tensor() + text("x") + doubled + b"u.", {"0": bytes(16)})


def a_list_that_holds_itself(path: Path, _: Path) -> None:
    zipped(path, b"\x80\x02]q\x00h\x00a.", {})


def shards(path: Path, name: str) -> None:
    corpus.sharded(path)
    index = path / "model.safetensors.index.json"
    held = json.loads(index.read_text())
    held["weight_map"] = dict.fromkeys(held["weight_map"], name)
    index.write_text(json.dumps(held))


def a_shard_above_the_directory(path: Path, _: Path) -> None:
    shards(path, "../outside.safetensors")
    corpus.safetensors(path.parent / "outside.safetensors")


def a_shard_that_links_out(path: Path, _: Path) -> None:
    shards(path, "link.safetensors")
    corpus.safetensors(path.parent / "outside.safetensors")
    (path / "link.safetensors").symlink_to(path.parent / "outside.safetensors")


def a_header_of_safetensors_without_end(path: Path, _: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**60) + b"{" + b" " * 100)


def markup_and_control_characters(path: Path, _: Path) -> None:
    names = ["<script>alert(1)</script>", "a\x1b[31mred", "line\nforged", "[bold]x[/bold]", "../up", "x" * 10_000]
    torch.save({name: torch.ones(2) for name in names}, path)


REFUSED: list[Make] = [
    code_in_a_zip, code_in_a_legacy_file, code_in_a_plain_pickle, code_in_shards_of_a_directory,
    code_in_metadata_of_dcp, code_in_an_exported_program, code_in_torchscript, a_deflated_gibibyte, a_zip_in_a_zip,
    more_declared_than_there_is, more_declared_in_a_legacy_file, a_giant_of_stride_zero, a_list_doubled_forty_times,
    a_list_that_holds_itself, a_shard_above_the_directory, a_shard_that_links_out,
    a_header_of_safetensors_without_end, markup_and_control_characters,
]  # fmt: skip


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_a_hostile_checkpoint(call: Call, arena: Path, tmp_path: Path, memory_limit: Any, make: Make) -> None:  # noqa: F811
    path, marker = tmp_path / "model.pt", tmp_path / "ran"
    make(path, marker)
    marker.unlink(missing_ok=True)  # scripting a module may have run it
    with memory_limit(CEILING):
        scanned = call("scan", path, arena / "x.npy", "--quiet")
        inspected = call("inspect", path)
    assert scanned.code == 3, scanned.err
    assert inspected.code in (0, 3), inspected.err
    assert not marker.exists()
    for shown in (scanned.err, inspected.err, inspected.out):
        assert "Traceback" not in shown and "\x1b" not in shown and "forged\n" not in shown
    assert scanned.err.count("\n") == 1 and len(scanned.err) < 4000


BEFORE = [code_in_a_zip, code_in_an_exported_program, code_in_torchscript]


@pytest.mark.parametrize("make", BEFORE, ids=lambda make: make.__name__)
def test_the_attack_itself_works(tmp_path: Path, make: Make) -> None:
    """What is refused above would run where a file is trusted."""
    path, marker = tmp_path / "model.pt", tmp_path / "ran"
    make(path, marker)
    marker.unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if make is code_in_torchscript:
            torch.jit.load(path)
        elif make is code_in_a_zip:
            torch.load(path, weights_only=False)
        else:
            with contextlib.suppress(Exception):  # the program is of no use afterwards, but the code has run
                torch.export.load(path)
    assert marker.exists()


# --- data


def pictures(path: Path, count: int = 40) -> Path:
    path.mkdir()
    random = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(path / f"{i:02}.png")
    return path


def test_a_picture_that_is_a_bomb_is_skipped_and_named(
    call: Call,
    arena: Path,
    tmp_path: Path,
    memory_limit: Any,  # noqa: F811
) -> None:
    folder = pictures(tmp_path / "pictures")
    Image.new("1", (10_000, 10_000)).save(folder / "bomb.png")
    model = ("--model-def", f"{arena / 'models.py'}:Pictures")
    with memory_limit(CEILING):
        found = call("scan", arena / "pictures.pt", folder, *model, "--quiet", "--no-diagnose", "--workers", "0")
    assert found.code == 1 and "bomb.png" in found.out and "40 of 41 items" in found.out


@pytest.mark.parametrize(
    "content",
    [b'a,b\n1,"' + b"x" * 2**25, b"1," * 2**24, b"a,b\n1,2\n" + b"9" * 2**24 + b",1\n"],
    ids=["a quote left open", "a line without end", "a number without end"],
)
def test_a_table_without_end(call: Call, arena: Path, tmp_path: Path, memory_limit: Any, content: bytes) -> None:  # noqa: F811
    (tmp_path / "x.csv").write_bytes(content)
    with memory_limit(CEILING):
        found = call("scan", arena / "healthy.pt", tmp_path / "x.csv", "--model-def", f"{arena / 'models.py'}:linear")
    assert found.code in (2, 4) and "Traceback" not in found.err and len(found.err) < 4000


def test_a_parquet_file_that_lies_about_its_rows(
    call: Call,
    arena: Path,
    tmp_path: Path,
    memory_limit: Any,  # noqa: F811
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": [[float(i)] * 8 for i in range(300)]}), path, compression="none")
    content = bytearray(path.read_bytes())
    footer = struct.unpack("<I", content[-8:-4])[0]
    start = len(content) - 8 - footer
    changed = 0
    for at in range(start, len(content) - 9):
        if content[at : at + 2] == b"\xd8\x04":  # 300, as the footer writes it
            content[at : at + 2] = b"\xfe\x7f"
            changed += 1
    assert changed
    path.write_bytes(content)
    with memory_limit(CEILING):
        found = call("scan", arena / "healthy.pt", path, "--model-def", f"{arena / 'models.py'}:linear", "--quiet")
    assert found.code != 5 and "Traceback" not in found.err

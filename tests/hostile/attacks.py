"""Files that try something, of every kind; each is made by a function here and is never kept as a binary.

`ATTACKS` maps a name to a function that writes into an empty folder (honest files of `prepare` lie beside it) and
returns the command line. `EXPECTED` says how the command may end, where that is not `REFUSED`.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from tests.checkpoints import corpus
from tests.checkpoints.conftest import Touch
from tests.checkpoints.formats.test_dcp_directory import in_parts, rows
from tests.checkpoints.formats.test_torchscript import Writes
from tests.checkpoints.inert.test_hostile import state_dict, tensor, text
from tests.checkpoints.onnx import files as onnx
from tests.datasets.kinds.conftest import npy, picture, write_tar
from tests.datasets.test_pictures import png_of_size

MARKER = "ran"  # whatever runs code leaves this file in the attack's folder
ROWS = 40

NETWORKS = """
from torch import nn

def linear():
    return nn.Sequential(nn.Linear(8, 16))

class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(64, 16)
    def forward(self, x):
        return self.project(x.mean(1).flatten(1))

def embedding():
    return nn.Sequential(nn.Embedding(300, 16), nn.Flatten(), nn.Linear(16 * 4, 16))
"""

MODEL, DATA, TEXTS = "m.pt", "x.npy", "transform.py:tokens"


@dataclass(frozen=True)
class Outcome:
    """How a command may end: exit codes, and words one of which must be in what it says (none: any words)."""

    codes: tuple[int, ...]
    words: tuple[str, ...] = ()


REFUSED = Outcome((3,))
CONTAINED = Outcome((0,))
EITHER = Outcome((0, 3))
BAD_DATA = Outcome((2, 4))
ANY_DATA = Outcome((0, 2, 4))

Attack = Callable[[Path], Sequence[str]]
ATTACKS: dict[str, Attack] = {}
EXPECTED: dict[str, Outcome] = {}


def attack(name: str, outcome: Outcome = REFUSED) -> Callable[[Attack], Attack]:
    def added(make: Attack) -> Attack:
        assert name not in ATTACKS
        ATTACKS[name], EXPECTED[name] = make, outcome
        return make

    return added


def prepare(folder: Path) -> None:
    """Honest models and data, which the attacks are tried with."""
    torch.manual_seed(0)
    (folder / "networks.py").write_text(NETWORKS)
    (folder / "transform.py").write_text(
        "import torch\ndef tokens(text):\n    return torch.tensor([ord(c) % 300 for c in (text + '    ')[:4]])\n"
    )
    torch.save(nn.Sequential(nn.Linear(8, 16)).state_dict(), folder / "honest.pt")
    torch.save({f"project.{k}": v for k, v in nn.Linear(64, 16).state_dict().items()}, folder / "pictures.pt")
    torch.save(
        nn.Sequential(nn.Embedding(300, 16), nn.Flatten(), nn.Linear(64, 16)).state_dict(), folder / "embedding.pt"
    )
    np.save(folder / "honest.npy", np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32))


def of_model(path: Path, *options: str, model: str = "linear") -> list[str]:
    """Scan a hostile model on honest data."""
    return ["scan", str(path), "../honest.npy", "--model-def", f"../networks.py:{model}", *options]


def of_data(path: Path, *options: str, model: str = "linear") -> list[str]:
    """Scan an honest model on hostile data."""
    name = {"linear": "honest", "Pictures": "pictures", "embedding": "embedding"}[model]
    return ["scan", f"../{name}.pt", str(path), "--model-def", f"../networks.py:{model}", *options]


def evil(folder: Path) -> Touch:
    return Touch(folder / MARKER)


# --- code in pickles


for legacy in (False, True):
    for protocol in (2, 4, 5):

        @attack(f"code: torch {'legacy' if legacy else 'zip'}, protocol {protocol}")
        def _(folder: Path, protocol: int = protocol, legacy: bool = legacy) -> Sequence[str]:
            content = {"0.weight": torch.ones(16, 8), "0.bias": torch.ones(16), "x": evil(folder)}
            torch.save(content, folder / MODEL, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
            return of_model(folder / MODEL)


for protocol in (0, 2, 5):

    @attack(f"code: plain pickle, protocol {protocol}")
    def _(folder: Path, protocol: int = protocol) -> Sequence[str]:
        (folder / MODEL).write_bytes(pickle.dumps({"x": evil(folder)}, protocol=protocol))
        return of_model(folder / MODEL)


@attack("code: in an attribute of a pickled module")
def _(folder: Path) -> Sequence[str]:
    module = nn.Sequential(nn.Linear(8, 16))
    module.x = evil(folder)  # type: ignore[assignment]
    torch.save(module, folder / MODEL)
    return ["scan", str(folder / MODEL), "../honest.npy"]


@attack("code: in torch 0.1 tar")
def _(folder: Path) -> Sequence[str]:
    with tarfile.open(folder / MODEL, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(evil(folder), protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return of_model(folder / MODEL)


def _bin(path: Path, folder: Path) -> None:
    torch.save({"weight": torch.ones(2), "x": evil(folder)}, path)


@attack("code: Hugging Face directory, pytorch_model.bin")
def _(folder: Path) -> Sequence[str]:
    (folder / "m").mkdir()
    (folder / "m" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    _bin(folder / "m" / "pytorch_model.bin", folder)
    return ["scan", str(folder / "m"), "../honest.npy"]


@attack("code: Hugging Face directory, one of several shards")
def _(folder: Path) -> Sequence[str]:
    (folder / "m").mkdir()
    (folder / "m" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    _bin(folder / "m" / "pytorch_model-00001-of-00001.bin", folder)
    index = {"weight_map": {"weight": "pytorch_model-00001-of-00001.bin"}}
    (folder / "m" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return ["scan", str(folder / "m"), "../honest.npy"]


@attack("code: a Hugging Face configuration that names its own Python file")
def _(folder: Path) -> Sequence[str]:
    (folder / "m").mkdir()
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}, "architectures": ["M"]}
    (folder / "m" / "config.json").write_text(json.dumps(config))
    (folder / "m" / "own.py").write_text(f"open({str(folder / MARKER)!r}, 'w')")
    save_file({"weight": torch.ones(2, 2)}, folder / "m" / "model.safetensors")
    return ["scan", str(folder / "m"), "../honest.npy"]


@attack("code: sentence-transformers directory, module of its own")
def _(folder: Path) -> Sequence[str]:
    corpus.sentence_transformers(folder / "m")
    modules = json.loads((folder / "m" / "modules.json").read_text())
    modules[1]["type"] = "own.Pooling"
    (folder / "m" / "modules.json").write_text(json.dumps(modules))
    (folder / "m" / "own.py").write_text(f"open({str(folder / MARKER)!r}, 'w')")
    return ["scan", str(folder / "m"), "../honest.npy"]


def _exported(folder: Path) -> Path:
    corpus.exported(folder / "honest.pt2")
    with zipfile.ZipFile(folder / "honest.pt2") as old, zipfile.ZipFile(folder / "m.pt2", "w") as new:
        for name in old.namelist():
            hostile = name.endswith("data/sample_inputs/model.pt")
            new.writestr(name, pickle.dumps(evil(folder)) if hostile else old.read(name))
    (folder / "honest.pt2").unlink()
    return folder / "m.pt2"


@attack("code: .pt2, sample inputs")
def _(folder: Path) -> Sequence[str]:
    return ["scan", str(_exported(folder)), "../honest.npy"]


@attack("code: .pt2, sample inputs, inspected", CONTAINED)
def _(folder: Path) -> Sequence[str]:
    return ["inspect", str(_exported(folder))]


@attack("code: DCP metadata")
def _(folder: Path) -> Sequence[str]:
    corpus.dcp(folder / "m")
    (folder / "m" / ".metadata").write_bytes(pickle.dumps(evil(folder)))
    return of_model(folder / "m")


@attack("code: DCP, a part")
def _(folder: Path) -> Sequence[str]:
    stream = io.BytesIO()
    torch.save(evil(folder), stream)
    content = stream.getvalue()
    in_parts(folder / "m", rows(torch.ones(16, 8), 1), (16, 8), length=len(content))
    (folder / "m" / "__0_0.distcp").write_bytes(bytes(100) + content)
    return of_model(folder / "m", "--allow-partial")


def _scripted(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Writes(str(folder / MARKER))), folder / MODEL)
    return folder / MODEL


@attack("code: TorchScript __setstate__")
def _(folder: Path) -> Sequence[str]:
    return ["scan", str(_scripted(folder)), "../honest.npy"]


@attack("code: TorchScript __setstate__, inspected", CONTAINED)
def _(folder: Path) -> Sequence[str]:
    return ["inspect", str(_scripted(folder))]


# --- code in data


@attack("code: data in .pt", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    torch.save({"x": torch.ones(4, 8), "y": evil(folder)}, folder / "x.pt")
    return of_data(folder / "x.pt")


@attack("code: an object array in .npy", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    np.save(folder / DATA, np.array([evil(folder)] * 4, dtype=object), allow_pickle=True)
    return of_data(folder / DATA)


@attack("code: an object array in .npz", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    np.savez(folder / "x.npz", x=np.array([evil(folder)] * 4, dtype=object))
    return of_data(folder / "x.npz")


@attack("code: labels in a pickle", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    np.save(folder / "labels.npy", np.array([evil(folder)] * ROWS, dtype=object), allow_pickle=True)
    return [*of_data(Path("../honest.npy")), "--labels", str(folder / "labels.npy")]


@attack("code: pickles in a WebDataset tar", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    hostile = pickle.dumps(evil(folder))
    members = [(f"{i:03}.{end}", hostile) for i in range(4) for end in ("pkl", "pickle", "pyd", "pth", "pt", "cls")]
    members += [(f"{i:03}.npy", npy(np.arange(8.0) + i)) for i in range(4, 20)]
    return of_data(write_tar(folder / "x.tar", members))


@attack("code: ready vectors", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    torch.save({"embeddings": torch.ones(4, 8), "y": evil(folder)}, folder / "x.pt")
    return ["embeddings", str(folder / "x.pt")]


# --- archives


def archive(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        with zipfile.ZipFile(path, "w", method) as made:
            for name, content in members.items():
                made.writestr(name, content)
    return path


def stored(path: Path, content: bytes, storages: Mapping[str, bytes] | None = None) -> Path:
    """What torch.save would have written of this pickle."""
    members = {"m/data.pkl": content, "m/byteorder": b"little", "m/version": b"3\n"}
    return archive(path, members | {f"m/data/{key}": held for key, held in (storages or {}).items()})


WEIGHT = {"0.weight": tensor(numel=128, size=(16, 8), stride=(8, 1)), "0.bias": tensor(numel=16, size=(16,), key="1")}


@attack("zip: a deflated storage of 512 MiB")
def _(folder: Path) -> Sequence[str]:
    with zipfile.ZipFile(folder / MODEL, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("m/data.pkl", state_dict(w=tensor(numel=1 << 27, size=(1 << 27,))))
        made.writestr("m/version", b"3\n")
        with made.open("m/data/0", "w", force_zip64=True) as member:
            for _ in range(32):
                member.write(bytes(1 << 24))
    return of_model(folder / MODEL)


@attack("zip: a deflated pickle of 512 MiB")
def _(folder: Path) -> Sequence[str]:
    with zipfile.ZipFile(folder / MODEL, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("m/version", b"3\n")
        with made.open("m/data.pkl", "w", force_zip64=True) as member:
            for _ in range(32):
                member.write(b"N" * (1 << 24))
    return of_model(folder / MODEL)


@attack("zip: a zip in a zip in a zip")
def _(folder: Path) -> Sequence[str]:
    stored(folder / "inner", state_dict(**WEIGHT), {"0": bytes(512), "1": bytes(64)})
    content = (folder / "inner").read_bytes()
    for _ in range(3):
        content = archive(folder / "inner", {"m/data.pkl": content, "m/version": b"3\n"}).read_bytes()
    (folder / "inner").rename(folder / MODEL)
    return of_model(folder / MODEL)


@attack("zip: members that share their bytes")
def _(folder: Path) -> Sequence[str]:
    content = bytearray(archive(folder / MODEL, {"m/data.pkl": b"x" * 99, "m/data/0": b"x" * 99}).read_bytes())
    first = content.index(b"PK\x01\x02")
    struct.pack_into("<L", content, content.index(b"PK\x01\x02", first + 4) + 42, 0)
    (folder / MODEL).write_bytes(content)
    return of_model(folder / MODEL)


@attack("zip: one name twice")
def _(folder: Path) -> Sequence[str]:
    honest = state_dict(**WEIGHT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(folder / MODEL, "w") as made:
            made.writestr("m/data.pkl", honest)
            made.writestr("m/data.pkl", pickle.dumps(evil(folder)))
            made.writestr("m/data/0", bytes(512))
            made.writestr("m/data/1", bytes(64))
    return of_model(folder / MODEL)


@attack("zip: bytes in front")
def _(folder: Path) -> Sequence[str]:
    stored(folder / MODEL, state_dict(**WEIGHT), {"0": bytes(512), "1": bytes(64)})
    (folder / MODEL).write_bytes(pickle.dumps(evil(folder), protocol=2) + (folder / MODEL).read_bytes())
    return of_model(folder / MODEL)


@attack("zip: a name that leads elsewhere")
def _(folder: Path) -> Sequence[str]:
    archive(folder / MODEL, {"m/data.pkl": state_dict(**WEIGHT), "m/../../ran": b"x"})
    return of_model(folder / MODEL)


@attack("npz: a member of 512 MiB, deflated", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    header = npy(np.zeros((1, 8), np.float32))[:128].replace(b"(1, 8), }" + b" " * 7, b"(16777216, 8), }")
    with (
        zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made,
        made.open("x.npy", "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(32):
            member.write(bytes(1 << 24))
    return of_data(folder / "x.npz")


# --- sizes that are not there


@attack("size: 4 TiB declared by a tensor")
def _(folder: Path) -> Sequence[str]:
    return of_model(stored(folder / MODEL, state_dict(w=tensor(numel=1 << 40, size=(1 << 40,))), {"0": bytes(16)}))


@attack("size: a view beyond its storage")
def _(folder: Path) -> Sequence[str]:
    return of_model(stored(folder / MODEL, state_dict(w=tensor(offset=1 << 50)), {"0": bytes(16)}))


@attack("size: 64 GiB declared by a legacy file")
def _(folder: Path) -> Sequence[str]:
    torch.save({"w": torch.zeros(4)}, folder / MODEL, _use_new_zipfile_serialization=False)
    content = (folder / MODEL).read_bytes()
    at = content.rindex(struct.pack("<q", 4))
    (folder / MODEL).write_bytes(content[:at] + struct.pack("<q", 1 << 34) + content[at + 8 :])
    return of_model(folder / MODEL)


@attack("size: a legacy file whose pickle declares 64 GiB")
def _(folder: Path) -> Sequence[str]:
    torch.save({"w": torch.zeros(77_777)}, folder / MODEL, _use_new_zipfile_serialization=False)
    content = (folder / MODEL).read_bytes()
    (folder / MODEL).write_bytes(content.replace(struct.pack("<i", 77_777), struct.pack("<i", (1 << 31) - 1)))
    return of_model(folder / MODEL)


def safetensors(path: Path, header: Any, length: int | None = None, body: bytes = b"") -> Path:
    content = json.dumps(header).encode() if not isinstance(header, bytes) else header
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content + body)
    return path


@attack("size: a safetensors header of 2⁶⁰ bytes")
def _(folder: Path) -> Sequence[str]:
    return of_model(safetensors(folder / "m.safetensors", b"{}", length=1 << 60))


@attack("size: safetensors offsets past the end")
def _(folder: Path) -> Sequence[str]:
    entry = {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}
    return of_model(safetensors(folder / "m.safetensors", {"w": entry}, body=bytes(16)))


@attack("size: safetensors that overlap")
def _(folder: Path) -> Sequence[str]:
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    return of_model(safetensors(folder / "m.safetensors", {f"w{i}": entry for i in range(1000)}, body=bytes(16)))


@attack("size: an ONNX tensor of 4 TiB")
def _(folder: Path) -> Sequence[str]:
    weight = onnx.tensor("w", (1 << 40,), onnx.FLOAT, onnx.part(9, bytes(16)))
    ports = [onnx.port("x", onnx.FLOAT, ["n", 8])], [onnx.port("y", onnx.FLOAT, ["n"])]
    nodes = [onnx.node("MatMul", ["x", "w"], ["y"])]
    onnx.write(folder / "m.onnx", onnx.model(onnx.graph(nodes, [weight], *ports)))
    return ["scan", str(folder / "m.onnx"), "../honest.npy"]


@attack("size: .npy of 4 TiB", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    content = npy(np.zeros((1, 8), np.float32))
    (folder / DATA).write_bytes(content.replace(b"(1, 8), }" + b" " * 12, b"(137438953472, 8), }" + b" "))
    return of_data(folder / DATA)


@attack("size: a tar member of a terabyte", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    members = [(f"{i:03}.npy", npy(np.arange(8.0) + i)) for i in range(8)]
    path = write_tar(folder / "x.tar", members)
    info = tarfile.TarInfo("999.npy")
    info.size = 10**12
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole + bytes(-len(whole) % 512) + info.tobuf(tarfile.GNU_FORMAT))
    return of_data(path)


@attack("size: a tar header without end", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    info = tarfile.TarInfo("x.png")
    info.type, info.size = tarfile.XHDTYPE, 2**39
    (folder / "x.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    return of_data(folder / "x.tar")


@attack("size: parquet that lies about its rows", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"v": [[float(i)] * 8 for i in range(9)]}), folder / "x.parquet")
    whole = (folder / "x.parquet").read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    lying = whole[footer:-8].replace(bytes([22, 18]), bytes([22, 126]))
    (folder / "x.parquet").write_bytes(whole[:footer] + lying + whole[-8:])
    return of_data(folder / "x.parquet")


@attack("size: parquet with a footer of 2 GiB", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    (folder / "x.parquet").write_bytes(b"PAR1" + bytes(100) + (2**31 - 1).to_bytes(4, "little") + b"PAR1")
    return of_data(folder / "x.parquet")


@attack("size: parquet that unpacks to a gigabyte", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    zeros = pa.array(np.zeros(1 << 20, np.float32))
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(zeros, 1 << 17)})
    with pq.ParquetWriter(folder / "x.parquet", table.schema, compression="zstd", use_dictionary=True) as writer:
        for _ in range(128):
            writer.write_table(table)
    return of_data(folder / "x.parquet", "--max-samples", "4")


@attack("size: a sound of four gigabytes", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    (folder / "x").mkdir()
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16_000, 2, 16)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", 2**32 - 1) + bytes(1000)
    for name in "ab":
        (folder / "x" / f"{name}.wav").write_bytes(b"RIFF" + struct.pack("<I", 2**32 - 1) + body)
    return of_data(folder / "x", "--seconds", "0.001")


# --- giants and recursion


@attack("giant: stride 0 in a checkpoint", CONTAINED)
def _(folder: Path) -> Sequence[str]:
    huge = tensor(size=(1 << 20, 1 << 20), stride=(0, 0), key="2")
    held = {"0": bytes(512), "1": bytes(64), "2": bytes(16)}
    return of_model(stored(folder / MODEL, state_dict(**WEIGHT, huge=huge), held), "--allow-partial")


@attack("giant: stride 0 as a weight of the model")
def _(folder: Path) -> Sequence[str]:
    content = state_dict(**WEIGHT | {"0.weight": tensor(numel=4, size=(16, 8), stride=(0, 0))})
    return of_model(stored(folder / MODEL, content, {"0": bytes(16), "1": bytes(64)}))


for legacy in (False, True):

    @attack(f"recursion: a tuple of 2⁴⁰ parts as a key in data, {'legacy' if legacy else 'zip'}", ANY_DATA)
    def _(folder: Path, legacy: bool = legacy) -> Sequence[str]:
        """Torch's own reader, weights_only or not, computes for hours."""
        torch.save({"x": torch.ones(ROWS, 8)}, folder / "x.pt", _use_new_zipfile_serialization=not legacy)
        content = b"\x80\x02}(" + text("x") + tensor(numel=ROWS * 8, size=(ROWS, 8), stride=(8, 1))
        content += b"K\x01" + b"2\x86" * 40 + b"K\x01u."
        if legacy:
            whole = (folder / "x.pt").read_bytes()
            (folder / "x.pt").write_bytes(whole.replace(b"}q\x00", b"}K\x01" + b"2\x86" * 40 + b"K\x01sq\x00", 1))
        else:
            stored(folder / "x.pt", content, {"0": bytes(ROWS * 32)})
        return of_data(folder / "x.pt")


@attack("giant: stride 0 in data", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    torch.save(torch.ones(1).expand(1 << 20, 1 << 20), folder / "x.pt")
    return of_data(folder / "x.pt")


DOUBLED = b"]q\x00" + b"".join(b"0](h%ch%ceq%c" % (i, i, i + 1) for i in range(40))
RECURSIVE = {
    "a list doubled 40 times": DOUBLED,
    "a tuple of 2⁴⁰ parts as a key": b"}K\x01" + b"2\x86" * 40 + b"K\x01s",
    "a list in itself": b"]q\x00h\x00a",
    "200,000 tuples in one another": b")" + b"\x85" * 200_000,
    "a memo of 2³¹ entries": b"}r\xff\xff\xff\x7f",
    "a bytearray of 6 GiB": b"\x96" + struct.pack("<Q", 6 << 30),
    "200,000 names": b"".join(b"ca\nb%d\n0" % i for i in range(200_000)) + b"N",
}
for kind, instructions in RECURSIVE.items():

    @attack(f"recursion: {kind}", EITHER)
    def _(folder: Path, instructions: bytes = instructions) -> Sequence[str]:
        held = b"".join(text(name) + one + b"s" for name, one in WEIGHT.items())
        content = b"\x80\x04}" + text("x") + instructions + b"s" + held + b"."
        return of_model(stored(folder / MODEL, content, {"0": bytes(512), "1": bytes(64)}))


@attack("recursion: modules of 2⁴⁰ layers")
def _(folder: Path) -> Sequence[str]:
    module: nn.Module = nn.Sequential(nn.Linear(8, 8))
    for _ in range(40):
        module = nn.Sequential(module, module)
    torch.save(module, folder / MODEL)
    return ["scan", str(folder / MODEL), "../honest.npy"]


@attack("recursion: JSON in JSON in a header")
def _(folder: Path) -> Sequence[str]:
    return of_model(safetensors(folder / "m.safetensors", b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"))


@attack("recursion: JSON in JSON lines", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    lines = [json.dumps({"text": f"text {i}"}) for i in range(20)]
    lines[7] = '{"text": ' + "[" * 500_000 + "]" * 500_000 + "}"
    lines[8] = '{"text": ' + "9" * 100_000 + "}"
    (folder / "x.jsonl").write_text("\n".join(lines))
    return of_data(
        folder / "x.jsonl", "--transform", "../transform.py:tokens", "--max-unreadable", "1", model="embedding"
    )


# --- paths that lead elsewhere


def _sharded(folder: Path, name: str) -> Sequence[str]:
    corpus.sharded(folder / "m")
    save_file({"head.bias": torch.ones(5)}, folder / "secret.safetensors")
    (folder / "m" / "link.safetensors").symlink_to(folder / "secret.safetensors")
    index = json.loads((folder / "m" / "model.safetensors.index.json").read_text())
    index["weight_map"]["head.bias"] = name
    (folder / "m" / "model.safetensors.index.json").write_text(json.dumps(index))
    return of_model(folder / "m")


for name in ("../secret.safetensors", "link.safetensors", "/etc/passwd", "a/../../secret.safetensors"):

    @attack(f"path: {name} in an index of shards")
    def _(folder: Path, name: str = name) -> Sequence[str]:
        return _sharded(folder, name)


@attack("path: ../secret as the weights of an ONNX graph")
def _(folder: Path) -> Sequence[str]:
    (folder / "secret").write_bytes(bytes(96))
    (folder / "m").mkdir()
    weight = onnx.outside("w", (6, 4), onnx.FLOAT, location="../secret")
    ports = [onnx.port("x", onnx.FLOAT, ["n", 6])], [onnx.port("y", onnx.FLOAT, ["n", 4])]
    content = onnx.model(onnx.graph([onnx.node("MatMul", ["x", "w"], ["y"])], [weight], *ports))
    return ["scan", str(onnx.write(folder / "m" / "m.onnx", content)), "../honest.npy"]


@attack("path: a pipe that nobody writes to")
def _(folder: Path) -> Sequence[str]:
    os.mkfifo(folder / MODEL)
    return of_model(folder / MODEL)


@attack("path: names in a tar that lead elsewhere, links and devices", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    path = write_tar(folder / "x.tar", [(f"../../{i:03}.npy", npy(np.arange(8.0) + i)) for i in range(20)])
    with tarfile.open(path, "a") as made:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"../{MARKER}.npy")
            info.type, info.linkname = kind, "/etc/passwd"
            made.addfile(info)
    return of_data(path)


# --- names that forge


FORGING = (
    "\x1b[2J\x1b[31mred", "[bold]x[/bold]", "[/red]", "a\nHEALTHY (forged)", "nul\0", "\u202eabc", "k" * 1_000_000,
    "<script>alert(1)</script>", "../x", "", "\r\x08\x07", "\x9b31m",
)  # fmt: skip


@attack("names: control characters and markup in keys that do not fit")
def _(folder: Path) -> Sequence[str]:
    torch.save({name: torch.ones(2) for name in FORGING}, folder / MODEL)
    return of_model(folder / MODEL)


@attack("names: control characters and markup in keys that are ignored", CONTAINED)
def _(folder: Path) -> Sequence[str]:
    weights = dict(nn.Sequential(nn.Linear(8, 16)).state_dict())
    torch.save({**weights, **{name: torch.ones(2) for name in FORGING}}, folder / MODEL)
    return of_model(folder / MODEL, "--allow-partial")


@attack("names: control characters and markup in every entry, inspected", CONTAINED)
def _(folder: Path) -> Sequence[str]:
    weights = {f"{name}.weight": torch.ones(2, 2) for name in FORGING}
    content = {
        "state_dict": weights,
        "hyper_parameters": dict.fromkeys(FORGING, "\x1b[2J"),
        **dict.fromkeys(FORGING, 1),
    }
    torch.save(content, folder / MODEL)
    return ["inspect", str(folder / MODEL), "--layers", "all"]


@attack("names: a lone surrogate as a key", EITHER)
def _(folder: Path) -> Sequence[str]:
    content = state_dict(**WEIGHT | {"x": tensor(numel=16, size=(16,), key="1")}).replace(text("x"), text("\ud800"))
    return of_model(stored(folder / MODEL, content, {"0": bytes(512), "1": bytes(64)}), "--allow-partial")


@attack("names: files and columns of data", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    (folder / "x").mkdir()
    for number_, name in enumerate(("\x1b[2Jred", "[bold]x", "a\nHEALTHY (forged)", "\u202eabc")):
        (folder / "x" / f"{name}.png").write_bytes(picture(number_) if number_ else b"none")
    return of_data(folder / "x", "--size", "8", "--max-unreadable", "1", model="Pictures")


# --- images


def _with_images(folder: Path, bombs: Mapping[str, bytes]) -> Path:
    random = np.random.default_rng(0)
    (folder / "x").mkdir()
    for number_ in range(20):
        Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / "x" / f"{number_:02}.png")
    for name, content in bombs.items():
        (folder / "x" / name).write_bytes(content)
    return folder / "x"


@attack("images: bombs of 100 and 196 megapixels, and of 3.6 gigapixels", CONTAINED)
def _(folder: Path) -> Sequence[str]:
    bombs = {f"{side}.png": png_of_size(folder / "b", side, side).read_bytes() for side in (10_000, 14_000, 60_000)}
    (folder / "b").unlink()
    return of_data(_with_images(folder, bombs), "--max-unreadable", "1", model="Pictures")


@attack("images: real zeros that unpack to 100 megapixels", CONTAINED)
def _(folder: Path) -> Sequence[str]:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(10_001)) for _ in range(10_000)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    text_bomb = chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(1 << 28)))
    small = picture(3)
    bombs = {"bomb.png": bomb, "text.png": small[:33] + text_bomb + small[33:]}
    return of_data(_with_images(folder, bombs), "--size", "8", "--max-unreadable", "1", model="Pictures")


@attack("images: cut, foreign, empty, and other programs' formats", CONTAINED)
def _(folder: Path) -> Sequence[str]:
    postscript = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({folder / MARKER}) (w) file\n".encode()
    odd = {
        "cut.png": picture(3)[:40],
        "text.png": b"text",
        "empty.png": b"",
        "eps.png": postscript,
        "a.eps": postscript,
    }
    return of_data(_with_images(folder, odd), "--max-unreadable", "1", model="Pictures")


# --- texts and tables


@attack("csv: a field without end", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    with (folder / "x.csv").open("w") as file:
        file.write(",".join("abcdefgh") + "\n" + ",".join("12345678") + '\n"')
        for _ in range(64):
            file.write("x\n" * (1 << 19))
    return of_data(folder / "x.csv")


@attack("csv: a line without end", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    with (folder / "x.csv").open("w") as file:
        file.write(",".join("abcdefgh") + "\n" + ",".join("12345678") + "\n")
        for _ in range(64):
            file.write("1" * (1 << 20))
    return of_data(folder / "x.csv")


@attack("csv: a million columns", BAD_DATA)
def _(folder: Path) -> Sequence[str]:
    (folder / "x.csv").write_text(("1," * 1_000_000 + "\n") * 4)
    return of_data(folder / "x.csv")


@attack("csv: formulas and control characters as labels", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    rows = [",".join([*map(str, np.random.default_rng(i).normal(size=8)), "ab"[i % 2]]) for i in range(20)]
    rows[3:3] = [",".join(["1"] * 8 + ["\x1b[2J=cmd()"])]
    (folder / "x.csv").write_text("\n".join([",".join([*"abcdefgh", "label"]), *rows]))
    return of_data(folder / "x.csv")


@attack("text: a line of 64 MB among others", ANY_DATA)
def _(folder: Path) -> Sequence[str]:
    with (folder / "x.txt").open("w") as file:
        file.writelines(f"line {i}\n" for i in range(20))
        for _ in range(64):
            file.write("x" * (1 << 20))
    return of_data(
        folder / "x.txt", "--transform", "../transform.py:tokens", "--max-unreadable", "1", model="embedding"
    )

"""An honest file or directory of every format, written by the library that it is named after."""

from __future__ import annotations

import json
import pickle
import struct
import tarfile
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

Make = Callable[[Path], None]


def quietly(do: Callable[[], object]) -> None:
    with warnings.catch_warnings():  # TorchScript is deprecated, and DCP tells that it runs without a cluster
        warnings.simplefilter("ignore")
        do()


class Net(nn.Module):
    """A bit of everything: nested and tied modules, buffers of both kinds, a plain tensor, a number."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 5)
        self.tied = self.head
        self.rows = nn.ModuleList([nn.Linear(2, 2, bias=False)])
        self.register_buffer("kept", torch.arange(3))
        self.register_buffer("fleeting", torch.arange(4.0), persistent=False)
        self.scale = torch.full((2,), 3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(x).mean((2, 3))) * self.scale.sum() + self.fleeting.sum()


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def weights() -> dict[str, torch.Tensor]:
    """State dict without tied names: what safetensors can hold."""
    return {name: value for name, value in net().state_dict().items() if not name.startswith("tied")}


def torch_zip(path: Path) -> None:
    torch.save(net().state_dict(), path)


def torch_legacy(path: Path) -> None:
    torch.save(net().state_dict(), path, _use_new_zipfile_serialization=False)


def scripted(path: Path) -> None:
    quietly(lambda: torch.jit.save(torch.jit.script(net()), path))


def traced(path: Path) -> None:
    quietly(lambda: torch.jit.save(torch.jit.trace(net(), torch.ones(1, 3, 8, 8)), path))


def frozen(path: Path) -> None:
    quietly(lambda: torch.jit.save(torch.jit.freeze(torch.jit.script(net())), path))


def exported(path: Path) -> None:
    buffer = BytesIO()
    quietly(lambda: torch.export.save(torch.export.export(net(), (torch.ones(1, 3, 8, 8),)), buffer))
    path.write_bytes(buffer.getvalue())


def safetensors(path: Path) -> None:
    save_file(weights(), path, metadata={"format": "pt"})


def sharded(path: Path) -> None:
    path.mkdir()
    _shards(path)


def sharded_index(path: Path) -> None:
    """The index alone is given; the shards lie beside it."""
    _shards(path.parent)
    (path.parent / "model.safetensors.index.json").rename(path)


def huggingface(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "net", "hidden_size": 4}))
    safetensors(path / "model.safetensors")


def huggingface_pickled(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "net"}))
    torch.save(weights(), path / "pytorch_model.bin")


def huggingface_sharded(path: Path) -> None:
    sharded(path)
    (path / "config.json").write_text(json.dumps({"model_type": "net"}))


def sentence_transformers(path: Path) -> None:
    """As version 2 to 5 of the library lays it out: the transformer at the top, the others in folders."""
    huggingface(path)
    package = "sentence_transformers.models"
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Dense", "Dense")]
    modules.append(("3", "3_Normalize", "Normalize"))
    entries = [
        {"idx": int(name), "name": name, "path": folder, "type": f"{package}.{kind}"} for name, folder, kind in modules
    ]
    (path / "modules.json").write_text(json.dumps(entries))
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 128, "do_lower_case": False}))
    (path / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True}
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (path / "2_Dense").mkdir()
    (path / "2_Dense" / "config.json").write_text(json.dumps({"in_features": 4, "out_features": 2}))
    save_file(dense(), path / "2_Dense" / "model.safetensors")


def dense() -> dict[str, torch.Tensor]:
    return {"linear.weight": torch.arange(8.0).view(2, 4), "linear.bias": torch.zeros(2)}


def dcp(path: Path) -> None:
    import torch.distributed.checkpoint as distributed

    # Adam has moments only after a step; they are saved beside the weights.
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    quietly(lambda: distributed.save(state, checkpoint_id=str(path)))


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": np.ones((2, 2), dtype=np.float32)}))


def npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3), b=np.zeros(2))


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones((3, 2)))


def torch_tar(path: Path) -> None:
    """What torch 0.1 wrote; no release that can is installable any more, so it is put together here.

    Member by member as `torch.load` still reads it: `storages`, `tensors` and `pickle`.
    """
    held = {name: value for name, value in weights().items() if value.is_floating_point()}
    storages, tensors = BytesIO(), BytesIO()
    _dump(storages, len(held))
    _dump(tensors, len(held))
    for key, value in enumerate(held.values()):
        _dump(storages, (1000 + key, "cpu", torch.FloatStorage))
        storages.write(struct.pack("<q", value.numel()) + value.numpy().tobytes())
        _dump(tensors, (key, 1000 + key, torch.FloatTensor))
        sizes = struct.pack(f"<{value.dim()}q", *value.shape) + struct.pack(f"<{value.dim()}q", *value.stride())
        tensors.write(struct.pack("<ii", value.dim(), 0) + sizes + struct.pack("<q", 0))
    _dump(storages, [])

    class Persistent(pickle.Pickler):
        def persistent_id(self, obj: object) -> str | None:
            return next((str(key) for key, value in enumerate(held.values()) if value is obj), None)

    content = BytesIO()
    Persistent(content, protocol=2).dump(OrderedDict(held))
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, member in (("storages", storages), ("tensors", tensors), ("pickle", content)):
            info = tarfile.TarInfo(name)
            info.size = member.tell()
            member.seek(0)
            archive.addfile(info, member)


#: Name of the format -> ways to write one. Those that no format reads are under None.
HONEST: Mapping[str | None, tuple[Make, ...]] = {
    "torch-zip": (torch_zip,),
    "torch-legacy": (torch_legacy,),
    "torchscript": (scripted, traced, frozen),
    "torch-export": (exported,),
    "torch-tar": (torch_tar,),
    "safetensors-file": (safetensors,),
    "safetensors-sharded": (sharded, sharded_index),
    "huggingface-directory": (huggingface, huggingface_pickled, huggingface_sharded),
    "sentence-transformers-directory": (sentence_transformers,),
    "dcp-directory": (dcp,),
    "plain-pickle": (plain_pickle,),
    None: (npz, npy),
}

#: Formats whose honest files are made by their own tests, as they need a package that may be missing.
WRITTEN_ELSEWHERE = {"onnx-model"}

#: Under what names files of these formats are seen.
SUFFIXES = (
    ".pt",
    ".pth",
    ".bin",
    ".ckpt",
    ".pkl",
    ".pt2",
    ".safetensors",
    ".json",
    ".tar",
    ".zip",
    ".npz",
    ".onnx",
    "",
)


def _shards(folder: Path) -> None:
    held = weights()
    names = list(held)
    half = len(names) // 2
    parts = {"model-00001-of-00002.safetensors": names[:half], "model-00002-of-00002.safetensors": names[half:]}
    for file, part in parts.items():
        save_file({name: held[name] for name in part}, folder / file)
    places = {name: file for file, part in parts.items() for name in part}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _dump(file: BytesIO, value: object) -> None:
    pickle.dump(value, file, protocol=2)

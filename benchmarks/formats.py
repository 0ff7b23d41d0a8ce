"""Every format of checkpoints and kind of data through the real command, written by the libraries they belong to.

    python benchmarks/formats.py [--only onnx]

For each checkpoint: whether it was `safe` (no code of the file ran; `--trust-checkpoint` where it had to), whether the
scan `runs`, how many layers it saw, and what it says of the model. Then each kind of data. What needs an extra that is
not installed is skipped, and said. The network is a small convolutional one, with random weights; the data are the
digits that ship with the samples.
"""

# ruff: noqa: D103 - each writer is named after what it writes

from __future__ import annotations

import argparse
import csv
import io
import json
import pickle
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# As a script, this folder's statistics.py would hide the one of the standard library.
HERE = Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
sys.path.insert(0, str(HERE.parent))

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from tests.checkpoints import corpus

NET = """
from torch import nn
def net():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(2048, 64))
def rows():
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32))
def sounds():
    return nn.Sequential(nn.Conv1d(1, 32, 9, stride=4), nn.ReLU(), nn.Conv1d(32, 64, 9, stride=4), nn.ReLU())
"""
DIGITS = HERE.parent / "sample_models" / "digits"
WORDS = "red green blue small large old new fast slow round flat loud quiet warm cold dark".split()  # noqa: SIM905
Checkpoint = Callable[[Path], list[str]]
Data = Callable[[Path], tuple[str, list[str]]]


def main() -> int:
    """Write, scan, print; the exit code says whether anything failed that should not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of a name")
    only = parser.parse_args().only
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "net.py").write_text(NET)
        pictures = images(folder / "pictures.npy")
        print(f"{'checkpoint':<40} {'safe':<6} {'runs':<6} {'layers':>6}  {'trust':<14} format")
        for label, write, extra in CHECKPOINTS:
            if only not in label:
                continue
            if missing(extra):
                print(f"{label:<40} skipped: needs {extra}")
                continue
            path = folder / label.replace(" ", "-").replace("/", "-")
            options = write(path)
            data = options.pop(0) if options and options[0].startswith("data:") else f"data:{pictures}"
            found = scan(folder, path, [data.removeprefix("data:")], options)
            failed += not show(label, found, options)
        print(f"\n{'data':<40} {'runs':<6} {'items':>6}  labels")
        for label, wrote, extra in DATA:
            if only not in label:
                continue
            if missing(extra):
                print(f"{label:<40} skipped: needs {extra}")
                continue
            path = folder / label.replace(" ", "-").replace("/", "-")
            kind, options = wrote(path)
            model = folder / f"{kind}.pt"
            torch.save(made(kind).state_dict(), model)
            given = [] if "--dataset" in options else [str(data_of(path))]
            found = scan(folder, model, given, ["--model-def", f"net.py:{kind}", *options])
            ran = "json" in found
            failed += not ran
            about = found.get("json", {}).get("data", {})
            print(f"{label:<40} {'yes' if ran else 'NO':<6} {about.get('used', 0):>6}  {about.get('labels', '')}")
            if not ran:
                print("    " + found["err"])
    return int(bool(failed))


def scan(folder: Path, model: Path, data: list[str], options: list[str]) -> dict[str, Any]:
    """Run the command as a user would."""
    command = [
        sys.executable,
        "-m",
        "collapsecheck",
        "scan",
        str(model),
        *data,
        *options,
        "--format",
        "json",
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    found: dict[str, Any] = {"code": done.returncode, "err": done.stderr.strip()}
    if done.returncode in (0, 1):
        found["json"] = json.loads(done.stdout)
    return found


def show(label: str, found: dict[str, Any], options: list[str]) -> bool:
    """Print one row; whether it is as it should be."""
    report = found.get("json")
    if report is None:
        print(f"{label:<40} {'yes':<6} {'no':<6} {'-':>6}  {found['err'][:200]}")
        return found["code"] == 3
    safe = "--trust-checkpoint" not in options
    model = report["model"]
    print(
        f"{label:<40} {'yes' if safe else 'asked':<6} {'yes':<6} {len(report['layers']):>6}  "
        f"{model['trust']:<14} {model['format']}"
    )
    return safe == (model["trust"] != "code")


def missing(extra: str) -> bool:
    """Whether a package that writes or reads a format is not here."""
    return any(find_spec(name) is None for name in extra.split())


def made(kind: str) -> nn.Module:
    """The network, with its batch statistics measured."""
    names: dict[str, Any] = {}
    exec(NET, names)
    torch.manual_seed(0)
    module: nn.Module = names[kind]()
    if kind == "net":
        module.train()
        for _ in range(20):
            module(torch.rand(64, 1, 8, 8))
    return module.eval()


def images(path: Path) -> Path:
    """The digits as one array."""
    rows = [np.asarray(Image.open(one), np.float32)[None] / 255 for one in sorted(DIGITS.rglob("*.png"))]
    np.save(path, np.stack(rows))
    return path


# --- checkpoints


def weights() -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in made("net").state_dict().items()}


DEFINED = ["--model-def", "net.py:net"]


def torch_zip(path: Path) -> list[str]:
    torch.save(weights(), path)
    return DEFINED


def training(path: Path) -> list[str]:
    model = made("net")
    optimiser = torch.optim.AdamW(model.parameters())
    content = {"model": model.state_dict(), "optimizer": optimiser.state_dict(), "epoch": 3}
    torch.save(content, path)
    return DEFINED


def legacy(path: Path) -> list[str]:
    torch.save(weights(), path, _use_new_zipfile_serialization=False)
    return DEFINED


def plain_pickle(path: Path) -> list[str]:
    path.write_bytes(pickle.dumps({name: value.numpy() for name, value in weights().items()}))
    return DEFINED


def whole_module(path: Path) -> list[str]:
    torch.save(made("net"), path)
    return []


def safetensors(path: Path) -> list[str]:
    save_file(weights(), path)
    return DEFINED


def sharded(path: Path) -> list[str]:
    path.mkdir()
    held = weights()
    names = list(held)
    halves = {"a.safetensors": names[: len(names) // 2], "b.safetensors": names[len(names) // 2 :]}
    for file, part in halves.items():
        save_file({name: held[name] for name in part}, path / file)
    index = {"metadata": {}, "weight_map": {name: file for file, part in halves.items() for name in part}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    return DEFINED


def dcp(path: Path) -> list[str]:
    from torch.distributed import checkpoint

    corpus.quietly(lambda: checkpoint.save(weights(), checkpoint_id=path))
    return DEFINED


def scripted(path: Path) -> list[str]:
    corpus.quietly(lambda: torch.jit.save(torch.jit.script(made("net")), path))
    return DEFINED


def scripted_and_trusted(path: Path) -> list[str]:
    scripted(path)
    return ["--trust-checkpoint"]


def exported(path: Path) -> list[str]:
    example = (torch.rand(4, 1, 8, 8),)
    dynamic = ({0: torch.export.Dim("n", min=1, max=4096)},)
    program = torch.export.export(made("net"), example, dynamic_shapes=dynamic)
    corpus.quietly(lambda: torch.export.save(program, path))
    return DEFINED


def exported_and_trusted(path: Path) -> list[str]:
    exported(path)
    return ["--trust-checkpoint"]


def onnx(path: Path) -> list[str]:
    example = (torch.rand(4, 1, 8, 8),)
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
    corpus.quietly(lambda: torch.onnx.export(made("net"), example, str(path), dynamo=False, **names))
    return []


def huggingface(path: Path) -> list[str]:
    from transformers import BertConfig, BertModel, BertTokenizer

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=64, **sizes)).save_pretrained(path)
    (path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizer(str(path / "vocab.txt")).save_pretrained(path)
    return [f"data:{texts(path.parent / 'texts.txt')}"]


def sentence_transformers(path: Path) -> list[str]:
    from sentence_transformers import SentenceTransformer, models

    inner = path.parent / f"{path.name}-inner"
    huggingface(inner)
    encoder = models.Transformer(str(inner))
    SentenceTransformer(modules=[encoder, models.Pooling(32)]).save(str(path))
    return [f"data:{texts(path.parent / 'texts.txt')}"]


def hdf5(path: Path) -> list[str]:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    return DEFINED


def gguf(path: Path) -> list[str]:
    path.write_bytes(b"GGUF\x03\x00\x00\x00" + bytes(2000))
    return DEFINED


def pointer(path: Path) -> list[str]:
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")
    return DEFINED


def texts(path: Path) -> Path:
    random = np.random.default_rng(0)
    path.write_text("\n".join(" ".join(random.choice(WORDS, random.integers(3, 12))) for _ in range(300)))
    return path


CHECKPOINTS: tuple[tuple[str, Checkpoint, str], ...] = (
    ("torch zip", torch_zip, ""),
    ("torch zip training checkpoint", training, ""),
    ("torch legacy", legacy, ""),
    ("plain pickle of numpy arrays", plain_pickle, ""),
    ("whole module of known classes", whole_module, ""),
    ("safetensors", safetensors, ""),
    ("safetensors in shards", sharded, ""),
    ("DCP directory", dcp, ""),
    ("TorchScript, its weights alone", scripted, ""),
    ("TorchScript, trusted", scripted_and_trusted, ""),
    ("torch.export, its weights alone", exported, ""),
    ("torch.export, trusted", exported_and_trusted, ""),
    ("ONNX", onnx, "onnx onnxruntime"),
    ("Hugging Face directory", huggingface, "transformers"),
    ("sentence-transformers directory", sentence_transformers, "sentence_transformers"),
    ("HDF5", hdf5, ""),
    ("GGUF", gguf, ""),
    ("Git LFS pointer", pointer, ""),
)


# --- data


def pngs() -> Iterator[tuple[str, bytes]]:
    for one in sorted(DIGITS.rglob("*.png")):
        yield one.parent.name, one.read_bytes()


def digit_rows() -> tuple[np.ndarray[Any, Any], list[str]]:
    held = [(one.parent.name, np.asarray(Image.open(one), np.float32).ravel() / 255) for one in DIGITS.rglob("*.png")]
    return np.stack([row for _, row in held]), [label for label, _ in held]


def data_of(path: Path) -> Path:
    """The file or folder that was written, whatever its ending."""
    return next(one for one in (path, *(path.with_suffix(end) for end in SUFFIXES)) if one.exists())


SUFFIXES = (".npy", ".npz", ".csv", ".jsonl", ".parquet", ".tar", ".safetensors", ".pt")


def folder(path: Path) -> tuple[str, list[str]]:
    path.symlink_to(DIGITS)
    return "net", []


def npy(path: Path) -> tuple[str, list[str]]:
    np.save(path.with_suffix(".npy"), digit_rows()[0])
    return "rows", []


def npz(path: Path) -> tuple[str, list[str]]:
    x, y = digit_rows()
    np.savez(path.with_suffix(".npz"), x=x, y=np.array([int(label) for label in y]))
    return "rows", []


def saved_tensor(path: Path) -> tuple[str, list[str]]:
    torch.save(torch.from_numpy(digit_rows()[0]), path.with_suffix(".pt"))
    return "rows", []


def tensors(path: Path) -> tuple[str, list[str]]:
    save_file({"x": torch.from_numpy(digit_rows()[0])}, path.with_suffix(".safetensors"))
    return "rows", []


def table(path: Path) -> tuple[str, list[str]]:
    x, y = digit_rows()
    with path.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"p{i}" for i in range(64)), "label"])
        writer.writerows([*row, f"digit {label}"] for row, label in zip(x, y, strict=True))
    return "rows", []


def parquet(path: Path) -> tuple[str, list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    x, y = digit_rows()
    pq.write_table(pa.table({"x": list(x), "label": y}), path.with_suffix(".parquet"))
    return "rows", ["--column", "x"]


def webdataset(path: Path) -> tuple[str, list[str]]:
    with tarfile.open(path.with_suffix(".tar"), "w") as archive:
        for number, (label, content) in enumerate(pngs()):
            for end, part in (("png", content), ("cls", label.encode())):
                info = tarfile.TarInfo(f"{number:05}.{end}")
                info.size = len(part)
                archive.addfile(info, io.BytesIO(part))
    return "net", []


def sounds(path: Path) -> tuple[str, list[str]]:
    import soundfile

    path.mkdir()
    random = np.random.default_rng(0)
    for number in range(120):
        tones = np.sin(np.arange(2000) * random.uniform(0.05, 0.5)) + 0.1 * random.normal(size=2000)
        soundfile.write(path / f"{number:03}.wav", tones * 0.4, 8000)
    return "sounds", []


def own_dataset(path: Path) -> tuple[str, list[str]]:
    np.save(path.with_suffix(".npy"), digit_rows()[0])
    (path.parent / "own.py").write_text(
        f"import numpy as np\ndef items():\n    return [row for row in np.load({str(path.with_suffix('.npy'))!r})]\n"
    )
    return "rows", ["--dataset", "own.py:items"]


DATA: tuple[tuple[str, Data, str], ...] = (
    ("images in class folders", folder, ""),
    ("npy", npy, ""),
    ("npz with labels", npz, ""),
    ("tensor of torch.save", saved_tensor, ""),
    ("arrays in safetensors", tensors, ""),
    ("csv", table, ""),
    ("parquet", parquet, "pyarrow"),
    ("WebDataset tar", webdataset, ""),
    ("wav folder", sounds, "soundfile"),
    ("own dataset", own_dataset, ""),
)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.exit(main())

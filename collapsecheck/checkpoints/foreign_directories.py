"""What a directory is that no format reads: one sentence each, with what to do."""

from __future__ import annotations

from pathlib import Path

from collapsecheck.checkpoints.foreign import EXPECTED
from collapsecheck.errors import printable

_WEIGHT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pt2", ".onnx")
_CONVERT = "convert it to PyTorch first"

# The first that fits says it: all of these names are in the directory.
_KINDS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"saved_model.pb"}), f"a TensorFlow SavedModel, {EXPECTED}; {_CONVERT}"),
    (frozenset({"checkpoint", "_CHECKPOINT_METADATA"}), f"a checkpoint of JAX (Orbax), {EXPECTED}; {_CONVERT}"),
    (frozenset({"_CHECKPOINT_METADATA"}), f"a checkpoint of JAX (Orbax), {EXPECTED}; {_CONVERT}"),
    (frozenset({"_METADATA"}), f"a checkpoint of JAX (Orbax), {EXPECTED}; {_CONVERT}"),
    (frozenset({"manifest.ocdbt"}), f"a checkpoint of JAX (Orbax), {EXPECTED}; {_CONVERT}"),
    (
        frozenset({"adapter_config.json"}),
        "an adapter (PEFT), which holds only what was added to a model; merge it with merge_and_unload() and save that",
    ),
    (
        frozenset({"model_index.json"}),
        "a pipeline of several models (diffusers); give the directory of one of them, such as its text_encoder",
    ),
    (
        frozenset({"zero_to_fp32.py"}),
        "a checkpoint of DeepSpeed in the parts of its ranks; join them with the zero_to_fp32.py that lies in it",
    ),
    (
        frozenset({"latest_checkpointed_iteration.txt"}),
        "a checkpoint of Megatron, which is not supported; convert it with Megatron's own tools",
    ),
    (
        frozenset({"dataset_info.json"}),
        "a data set of Hugging Face; it is DATA, MODEL is the checkpoint",
    ),
)


def describe_directory(path: Path) -> str:
    """Say what a directory holds, and which file in it to give."""
    names = sorted(entry.name for entry in path.iterdir())
    if not names:
        return "an empty directory, expected a checkpoint; the copy or the save was cut short, make it again"
    if ".metadata" in names or any(name.endswith(".distcp") for name in names):
        absent = "*.distcp" if ".metadata" in names else ".metadata"
        return (
            f"a directory of torch.distributed.checkpoint without its {absent}; "
            "copy the files of all ranks, hidden ones too"
        )
    for kind, sentence in _KINDS:
        if kind <= set(names):
            return sentence
    if "Manifest.json" in names and path.resolve().suffix == ".mlpackage":
        return f"a Core ML model, {EXPECTED}; {_CONVERT}"
    if any(name.endswith(".ckpt.index") or name == "checkpoint" for name in names) and any(
        ".data-00000-of-" in name for name in names
    ):
        return f"a TensorFlow checkpoint, {EXPECTED}; {_CONVERT}"
    found = [name for name in names if name.endswith(_WEIGHT_FILES)]
    if found:
        shown = ", ".join(printable(name, 60) for name in found[:3])
        return f"a directory, expected a file; give one of the files in it, such as {shown}"
    if "config.json" in names:
        return "a directory with config.json but no weights (model.safetensors); copy or download them too"
    return "a directory, expected a file; give the path of the checkpoint itself"

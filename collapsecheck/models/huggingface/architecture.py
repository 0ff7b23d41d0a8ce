"""Directories of transformers and of sentence-transformers as architectures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from collapsecheck.checkpoints import Checkpoint
from collapsecheck.datasets.model_input import ModelInput
from collapsecheck.errors import NotLoadableError, printable
from collapsecheck.models.architecture import Architecture, EmbeddingPlace
from collapsecheck.models.huggingface.configuration import configuration
from collapsecheck.models.huggingface.encoder import arguments, encoder
from collapsecheck.models.huggingface.library import transformers
from collapsecheck.models.huggingface.pictures import published
from collapsecheck.models.huggingface.pooling import Pooling, link
from collapsecheck.models.huggingface.tokens import load_tokenizer
from collapsecheck.models.weights import expected_shapes
from collapsecheck.recognition.alignment import Shapes

_TEXT = "input_ids"


class HuggingfaceArchitecture(Architecture):
    """An encoder of the transformers library, by its `config.json`."""

    trust: Literal["data-only", "known-classes", "code"] = "known-classes"

    def __init__(self, checkpoint: Checkpoint, tensors: Mapping[str, Any]) -> None:
        self._library = transformers("a Hugging Face directory")
        self._checkpoint, self._tensors = checkpoint, tensors
        self._config = configuration(self._library, checkpoint.metadata["config"])
        self._field = ""
        self.name = f"transformers {printable(str(self._config.model_type), 60)}"
        self.reason = "its config.json, with the class of the installed transformers"

    def expected(self) -> Shapes | None:
        """The library names the weights in its own way."""
        return None

    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:  # noqa: ARG002
        """Build, and put the weights in."""
        module, self.loading = encoder(self._library, self._config, self._tensors)
        names = arguments(module)
        if hasattr(module, "get_text_features") and hasattr(module, "get_image_features"):
            self.takes = self._input(names, pictures=True, texts=True)
            self.assumed = ("that images alone, or texts alone, are meant, as the data are",)
            return TwoTowers(module).eval()
        texts = _TEXT in names
        self._field = "last_hidden_state" if texts else "pooler_output"
        if texts or "pixel_values" in names:
            self.takes = self._input(names, pictures="pixel_values" in names, texts=texts)
        return module

    def embedding(self) -> EmbeddingPlace:
        """Return the last hidden state of texts, and what the model pools of images."""
        return EmbeddingPlace(field=self._field, reason="the encoder's output")

    def _input(self, names: frozenset[str], *, pictures: bool, texts: bool) -> ModelInput:
        config = getattr(self._config, "vision_config", self._config)
        size = getattr(config, "image_size", None)
        channels = getattr(config, "num_channels", 3)
        size = size if isinstance(size, int) else None
        tokenizer = partial(
            load_tokenizer,
            self._library,
            self._checkpoint.path,
            getattr(self._config, "text_config", self._config),
            names,
        )
        return ModelInput(
            channels=channels if pictures else None,
            token_ids=texts and not pictures,
            arch_name=None,
            size=(size, size) if pictures and size else None,
            tokenizer=tokenizer if texts else None,
            published=published(self._checkpoint.metadata.get("preprocessor_config"), size) if pictures else None,
        )


class SentenceArchitecture(Architecture):
    """A chain of sentence-transformers: a transformer, its pooling, and what comes behind."""

    trust: Literal["data-only", "known-classes", "code"] = "known-classes"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._library = transformers("a sentence-transformers directory")
        self._checkpoint = checkpoint
        first, *self._behind = checkpoint.metadata["modules"]
        kind = first["type"].rpartition(".")[2]
        if kind != "Transformer":
            raise NotLoadableError(
                f"begins with a module of the kind {printable(kind, 60)}, not with a transformer; "
                "build the model with --model-def FILE:CALLABLE"
            )
        self._first = first
        self._config = configuration(self._library, first["config"])
        self.name = f"sentence-transformers {printable(str(self._config.model_type), 60)}"
        self.reason = "its modules.json, with the class of the installed transformers"

    def expected(self) -> Shapes | None:
        """The library names the weights in its own way."""
        return None

    def build(self, given: Shapes, *, complete: bool = False) -> nn.Module:  # noqa: ARG002
        """Build the chain, and put the weights in."""
        content = self._checkpoint.content
        transformer, loading = encoder(self._library, self._config, content[self._first["name"]])
        chain = nn.ModuleDict()
        for entry in self._behind:
            module = link(entry["type"].rpartition(".")[2], entry["config"])
            _load(module, entry["name"], content.get(entry["name"], {}))
            chain[_name(module, chain)] = module.eval()
        if not any(isinstance(module, Pooling) for module in chain.values()):
            chain = nn.ModuleDict({"pooling": Pooling(("mean",)), **chain})
        self.loading = loading
        self.takes = ModelInput(
            channels=None,
            token_ids=True,
            arch_name=None,
            tokenizer=partial(self._tokenizer, arguments(transformer)),
        )
        return SentenceEncoder(transformer, chain).eval()

    def embedding(self) -> EmbeddingPlace:
        """Return the output of the chain."""
        return EmbeddingPlace(reason="what the chain of modules.json returns")

    def _tokenizer(self, names: frozenset[str]) -> Any:
        notes = self._checkpoint.metadata
        mine, general = notes.get("sentence_bert_config", {}), notes.get("config_sentence_transformers", {})
        prompts = general.get("prompts") if isinstance(general, Mapping) else None
        prompt = prompts.get(general.get("default_prompt_name"), "") if isinstance(prompts, Mapping) else ""
        longest = mine.get("max_seq_length") if isinstance(mine, Mapping) else None
        folder = self._checkpoint.path / self._first["path"]
        return load_tokenizer(
            self._library,
            folder,
            self._config,
            names,
            longest=longest if isinstance(longest, int) else None,
            prompt=prompt if isinstance(prompt, str) else "",
            lower=isinstance(mine, Mapping) and mine.get("do_lower_case") is True,
        )


class SentenceEncoder(nn.Module):
    """Token ids and their mask to one row for each text."""

    def __init__(self, transformer: nn.Module, chain: nn.ModuleDict) -> None:
        super().__init__()
        self.transformer = transformer
        self.chain = chain

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Tensor) -> Tensor:
        """Run the transformer, pool, and what comes behind."""
        mask = input_ids.new_ones(input_ids.shape) if attention_mask is None else attention_mask
        rows: Tensor = self.transformer(input_ids=input_ids, attention_mask=mask, **others).last_hidden_state
        for module in self.chain.values():
            rows = module(rows, mask) if isinstance(module, Pooling) else module(rows)
        return rows


class TwoTowers(nn.Module):
    """A model of images and texts (CLIP, SigLIP), of which the side is run that the data need."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model  # its methods are those of the library

    def forward(self, pixel_values: Tensor | None = None, **texts: Tensor) -> Any:
        """Return the projected features of images, or of texts."""
        if pixel_values is not None:
            return self.model.get_image_features(pixel_values=pixel_values)
        return self.model.get_text_features(**texts)


def _name(module: nn.Module, taken: nn.ModuleDict) -> str:
    """Name a module of the chain after its class; a second one gets a number."""
    name = type(module).__name__.lower()
    same = sum(other.rstrip("0123456789") == name for other in taken)
    return f"{name}{same + 1}" if same else name


def _load(module: nn.Module, name: str, tensors: Mapping[str, Any]) -> None:
    """Put weights into a module of the chain; all of them have to fit.

    Raises
    ------
    NotLoadableError
        If they do not.
    """
    wanted = expected_shapes(module)
    held = {key: tuple(value.shape) for key, value in tensors.items()}
    if held != dict(wanted):
        differing = sorted(key for key in {*held, *wanted} if held.get(key) != wanted.get(key))
        shown = ", ".join(printable(key, 60) for key in differing[:3])
        raise NotLoadableError(
            f"the weights of the module {printable(name, 60)} of modules.json do not fit it: {shown}"
        )
    module.load_state_dict({key: value.tensor().float() for key, value in tensors.items()}, assign=True)

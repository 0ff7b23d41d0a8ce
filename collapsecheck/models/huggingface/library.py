"""The transformers library, kept off the network and off the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from collapsecheck.errors import NotLoadableError

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "USE_HUB_KERNELS": "NO",  # compiled code of the hub in place of layers
    "TOKENIZERS_PARALLELISM": "false",
}


def transformers(what: str) -> Any:
    """Import the library; `what` begins the sentence that says it is needed.

    Raises
    ------
    NotLoadableError
        If it is not installed.
    """
    if find_spec("transformers") is None:
        raise NotLoadableError(
            f"{what} needs transformers: pip install 'collapsecheck[transformers]'; "
            "or --model-def FILE:CALLABLE builds the model"
        )
    os.environ.update(_OFFLINE)  # it looks at these when it is imported
    import transformers as library

    return library


@contextmanager
def quiet(library: Any) -> Iterator[None]:
    """No progress bars and no reports on what was loaded: these are ours to give."""
    logging = library.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()

"""Looks for pickles that the reader does not expect, led by the lines of it that they reach.

    pip install atheris; python benchmarks/fuzz_coverage.py [--minutes 10] [--corpus FOLDER]

atheris changes real checkpoints' pickles and keeps in the corpus what reaches something new. Anything but
`NotLoadableError`, or a tensor outside its storage, ends the run with a traceback and writes the pickle to a file;
so does an effect on the world that an audit hook sees. `fuzz_inert.py` needs no package and tries other pickles.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

# As a script, this folder's statistics.py would hide the one of the standard library.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import encodings.unicode_escape
import encodings.utf_32_be
import encodings.utf_32_le  # noqa: F401 - codecs are imported when they are needed first

with atheris.instrument_imports(include=["collapsecheck.checkpoints"]):
    from collapsecheck.checkpoints.inert import read_pickle
    from collapsecheck.checkpoints.records import ModuleRecord
    from collapsecheck.checkpoints.stored import MappedTensor
from collapsecheck.errors import NotLoadableError
from tests.checkpoints.inert import streams

_WATCHED = ("import", "open", "exec", "compile", "marshal.loads", "pickle.find_class")
_WATCHED_MODULES = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.")
_LONGEST = 65536  # bytes
_watching: list[bool] = []  # empty while the fuzzer itself is at work


def main() -> None:
    """Write the seeds, and hand over to the fuzzer, which never returns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--corpus", type=Path, help="folder to go on from; a new one without")
    arguments = parser.parse_args()
    folder = arguments.corpus or Path(tempfile.mkdtemp(prefix="pickles-"))
    folder.mkdir(exist_ok=True, parents=True)
    for number, content in enumerate(streams.checkpoints()):
        (folder / f"seed-{number}").write_bytes(content)
    sys.addaudithook(_watch)
    options = [f"-max_total_time={round(60 * arguments.minutes)}", f"-max_len={_LONGEST}", "-timeout=20"]
    atheris.Setup([sys.argv[0], *options, "-rss_limit_mb=2048", "-print_final_stats=1", str(folder)], _read)
    atheris.Fuzz()


def _read(content: bytes) -> None:
    _watching.append(True)
    try:
        value, _ = read_pickle(content, file=Path("none"), locate=lambda _: (0, 16))
        if isinstance(value, ModuleRecord):
            value.state_dict()
        elif isinstance(value, MappedTensor) and (value.offset < 0 or value.offset + value.span > 16):
            raise AssertionError(f"{value} lies outside its storage")
    except NotLoadableError:
        pass
    finally:
        _watching.clear()


def _watch(event: str, about: Any) -> None:
    if _watching and (event in _WATCHED or event.startswith(_WATCHED_MODULES)):
        raise AssertionError(f"effect: {event} {about}")


if __name__ == "__main__":
    main()

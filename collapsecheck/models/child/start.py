"""The child process: it gives up what it does not need, and then serves requests over its standard streams.

It is run as a script, by its path, with the paths to import from and the limits as JSON. It imports nothing but
Python itself before it is confined: a process can leave its network behind only while it has a single thread. What
cannot be had on this system is left out, and what holds is told to the parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000
_LARGEST_FILE = 64 << 20  # bytes that it may write into one file
_LONGEST_CPU = 24 * 3600  # seconds of computing, of all its threads together: the end of a forgotten process


def confine(parent: int) -> list[str]:
    """Give up rights for good, and return what holds from now on, in a few words each."""
    held = []
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if _limited(resource.RLIMIT_FSIZE, _LARGEST_FILE):
        held.append(f"files of at most {_LARGEST_FILE >> 20} MiB")
    if _limited(resource.RLIMIT_CPU, _LONGEST_CPU * max(os.cpu_count() or 1, 1)):
        held.append(f"{_LONGEST_CPU // 3600} h of computing per core")
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it went before this was set
            os._exit(1)
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _without_network(library):
            held.append("no network")
    return held


def limit_memory(most: int | None) -> list[str]:
    """Bound the memory of this process to what it has by now, and `most` bytes more (Linux)."""
    if most is None or sys.platform != "linux":
        return []
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - nothing else is imported here
        now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return [f"{most / 2**30:.1f} GiB of memory"] if _limited(resource.RLIMIT_AS, now + most) else []


def main() -> None:
    """Confine, import, serve."""
    given = json.loads(sys.argv[1])
    # The parent's pipes become descriptors of their own: what the model's code prints must not get into them.
    source, target = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    os.close(empty)
    held = confine(given["parent"])
    sys.argv[1:] = []
    sys.path[:] = given["path"]
    from collapsecheck.models.child.serving import serve

    held += limit_memory(given["memory"])
    sys.path.insert(0, given["folder"])  # the user's own classes; only now, as a file there may be called torch.py
    serve(source, target, held)


def _limited(kind: int, most: int) -> bool:
    try:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    except (OSError, ValueError):
        return False
    return True


def _without_network(library: ctypes.CDLL) -> bool:
    """Move to an empty network; who is not root may do that in a user namespace only, where systems allow it."""
    if os.geteuid() == 0:
        return bool(library.unshare(_CLONE_NEWNET) == 0)
    user, group = os.geteuid(), os.getegid()
    if library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    with contextlib.suppress(OSError):  # only so that it has the user's name
        for file, line in (("uid_map", f"{user} {user} 1"), ("setgroups", "deny"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{file}", "w", encoding="ascii") as opened:  # noqa: PTH123
                opened.write(line)
    return True


if __name__ == "__main__":
    main()

"""Models whose own code has to run: in a process of its own, with less than this one has, and watched.

`start` is that process, which confines itself and then serves requests (`serving`); `connection` is this side of the
pipes, `module` makes an `nn.Module` of it. Between them go frames (`framing`): JSON and bytes of tensors, no pickles,
as the code in the child could write anything into them. None of this makes hostile code harmless: it keeps accidents
and carelessness away, and a report from being forged or a scan from hanging.
"""

from __future__ import annotations

from collapsecheck.models.child.module import ChildModule, open_child

__all__ = ["ChildModule", "open_child"]

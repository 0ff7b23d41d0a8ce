"""Runs the checks. What cannot be seen is skipped with a reason, what breaks is errored: never passed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from collapsecheck import checks
from collapsecheck.checks import Check, Finding, Level, Outcome
from collapsecheck.discovery import plugins
from collapsecheck.observe import NotObservable

if TYPE_CHECKING:
    from collapsecheck.observe import Observations


def all_checks() -> dict[str, type[Check]]:
    """Every check by id."""
    return plugins(checks, Check)


def examine(
    seen: Observations,
    *,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    thresholds: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Finding]:
    """Ask every selected check; the findings come in the order of the checks' ids.

    Parameters
    ----------
    select, ignore : ids of checks; an empty selection means all.
    thresholds : per check, thresholds that replace its own.
    """
    findings = []
    for check_id, check in all_checks().items():
        if (select and check_id not in select) or check_id in ignore:
            continue
        findings += run(check((thresholds or {}).get(check_id)), seen)
    return findings


def run(check: Check, seen: Observations) -> list[Finding]:
    """The findings of one check; an exception inside it is a finding, not the end of the scan."""
    try:
        return list(check.run(seen))
    except NotObservable as reason:
        return [check.skipped(str(reason))]
    except Exception as error:  # a broken check must not hide what the others found
        message = f"the check broke: {type(error).__name__}: {error}"
        return [check.finding(Outcome.ERRORED, Level.ERROR, message)]

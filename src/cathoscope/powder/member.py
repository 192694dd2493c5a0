"""One temperature of a series after its refinement, and the same as text for a run that goes on after a kill."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cathoscope.powder.parameters import Search
from cathoscope.powder.refine import Fit, Misfit

Array = NDArray[np.float64]


class Memory(Protocol):
    """Whoever remembers finished parts of a task: `cathoscope.core.study.Work` is one."""

    def note_of(self, slab: str) -> str | None:
        """What was noted of a part; None if it is not finished."""

    def mark_done(self, slab: str, note: str = "") -> None:
        """Remember that a part is finished, with a note for the run that goes on."""


@dataclass(frozen=True, eq=False)
class Member:
    """One pattern, or the patterns of one temperature, of a series.

    Attributes
    ----------
    fit
        Where it ended; None if nothing could be made of it.
    present
        Phases that are in it.
    rwp
        Weighted profile residual of every pattern.
    bic
        Information criterion: smaller is better.
    remarks
        Why something is missing or doubtful.
    weak
        Phases of which the amount alone was refined.
    """

    fit: Fit | None
    present: tuple[str, ...]
    rwp: tuple[float, ...] = ()
    bic: float = float("inf")
    remarks: tuple[str, ...] = ()
    weak: tuple[str, ...] = ()

    @property
    def criterion(self) -> float:
        """Smaller is better; one that was refined is better than one that was not."""
        return float("inf") if self.fit is None else self.bic


def text_of_member(member: Member) -> str:
    """All of a member, every number with all its digits."""
    record: dict[str, Any] = {"present": member.present, "rwp": member.rwp, "bic": member.bic}
    record |= {"remarks": member.remarks, "weak": member.weak}
    if member.fit is not None:
        record["fit"] = _record_of(member.fit)
    return json.dumps(record)


def member_of_text(text: str) -> Member:
    """The member that `text_of_member` wrote."""
    record = json.loads(text)
    return Member(
        _fit_of(record["fit"]) if "fit" in record else None,
        tuple(record["present"]),
        tuple(record["rwp"]),
        record["bic"],
        tuple(record["remarks"]),
        tuple(record["weak"]),
    )


def _record_of(fit: Fit) -> dict[str, Any]:
    search = fit.search
    rows, columns = np.nonzero(search.matrix)
    return {
        "names": search.names,
        "free": search.free,
        "matrix": [rows.tolist(), columns.tolist(), search.matrix[rows, columns].tolist()],
        "constant": search.constant.tolist(),
        "positive": search.positive.tolist(),
        "bounds": [search.low.tolist(), search.high.tolist(), search.start.tolist()],
        "u": fit.u.tolist(),
        "covariance": fit.covariance.tolist(),
        "misfit": None if fit.misfit is None else [fit.misfit.covariance.tolist(), fit.misfit.blocks.tolist()],
        "end": [fit.chi2, fit.points, fit.outcome, fit.remarks, fit.cycles],
    }


def _fit_of(record: dict[str, Any]) -> Fit:
    matrix = np.zeros((len(record["names"]), len(record["free"])))
    rows, columns, values = record["matrix"]
    matrix[rows, columns] = values
    search = Search(
        tuple(record["names"]),
        tuple(record["free"]),
        matrix,
        np.array(record["constant"]),
        np.array(record["positive"], dtype=np.bool_),
        *(np.array(one, dtype=np.float64) for one in record["bounds"]),
    )
    count = len(search.free)
    covariance: Array = np.array(record["covariance"], dtype=np.float64).reshape(count, count)
    chi2, points, outcome, remarks, cycles = record["end"]
    fit = Fit(search, np.array(record["u"]), covariance, chi2, points, outcome, tuple(remarks), cycles)
    if record["misfit"] is None:
        return fit
    local, blocks = (np.array(one, dtype=np.float64) for one in record["misfit"])
    return replace(fit, misfit=Misfit(local.reshape(count, count), blocks))

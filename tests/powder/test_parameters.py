"""Names, ties and bounds of the numbers of a refinement: p = C q + k, and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cathoscope.core.errors import MeasurementError
from cathoscope.numerics.dual import Dual
from cathoscope.powder.parameters import Parameter, Parameters, search_of

NUMBERS = Parameters(
    {
        "NMC.a": Parameter(2.84),
        "NMC.Ni2.occupancy": Parameter(0.04),
        "NMC.Ni1.occupancy": Parameter(0.76),
        "NMC.Li1.occupancy": Parameter(0.46),
        "NMC.size": Parameter(0.2, True, 1e-3, 10.0),
        "bank1.NMC.scale": Parameter(3.0),
    }
)
EXCHANGE = NUMBERS.tied_to("NMC.Ni1.occupancy", {"NMC.Ni2.occupancy": -1.0}, 0.80).tied_to(
    "NMC.Li1.occupancy", {"NMC.Ni2.occupancy": -1.0, "NMC.size": 2.0}, 0.10
)

floats = st.floats(-3, 3)


@given(st.tuples(floats, floats, floats))
def test_all_numbers_follow_linearly_from_the_free_ones(u: tuple[float, float, float]) -> None:
    search = search_of(EXCHANGE, ["NMC.Ni2.occupancy", "NMC.size", "NMC.a"])
    values = search.values(np.array(u))
    numbers = {name: float(one.value) if isinstance(one, Dual) else one for name, one in values.items()}
    x, size = u[0], np.exp(u[1])

    assert numbers["NMC.Ni2.occupancy"] == pytest.approx(x)
    assert numbers["NMC.size"] == pytest.approx(size)  # positive, so refined as its logarithm
    assert numbers["NMC.a"] == pytest.approx(u[2])
    assert numbers["NMC.Ni1.occupancy"] == pytest.approx(0.80 - x)
    assert numbers["NMC.Li1.occupancy"] == pytest.approx(0.10 - x + 2 * size)
    assert values["bank1.NMC.scale"] == 3.0
    lithium = values["NMC.Li1.occupancy"]
    assert isinstance(lithium, Dual)
    assert lithium.slope == pytest.approx([-1.0, 2 * size, 0.0])


def test_what_follows_from_fixed_numbers_is_fixed() -> None:
    values = search_of(EXCHANGE, ["NMC.a"]).values(np.array([3.0]))

    assert values["NMC.Ni1.occupancy"] == pytest.approx(0.76)
    assert values["NMC.Li1.occupancy"] == pytest.approx(0.10 - 0.04 + 0.4)


def test_search_starts_at_the_numbers_within_their_bounds() -> None:
    search = search_of(NUMBERS.starting({"NMC.size": 50.0, "unknown": 1.0}), ["NMC.size", "NMC.a"])

    assert np.exp(search.start[0]) == pytest.approx(10.0)
    assert np.exp([search.low[0], search.high[0]]) == pytest.approx([1e-3, 10.0])
    assert search.start[1] == 2.84
    assert np.isinf(search.high[1])


def test_names_by_pattern_leave_out_what_is_tied() -> None:
    assert EXCHANGE.named(["*.occupancy"]) == ("NMC.Ni2.occupancy",)
    assert EXCHANGE.named(["*.scale", "NMC.a", "NMC.a"]) == ("bank1.NMC.scale", "NMC.a")


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (lambda: NUMBERS.named(["*.sizes"]), r"no number of the refinement is called \*.sizes"),
        (lambda: NUMBERS.tied_to("NMC.a", {"NMC.b": 1.0}), "no number of the refinement is called NMC.b"),
        (lambda: EXCHANGE.tied_to("NMC.Ni2.occupancy", {"NMC.a": 1.0}), "stands in another tie"),
        (lambda: EXCHANGE.tied_to("NMC.a", {"NMC.Ni1.occupancy": 1.0}), "stands in another tie"),
        (lambda: NUMBERS.tied_to("NMC.a", {"NMC.a": 1.0}), "stands in another tie"),
        (lambda: search_of(EXCHANGE, ["NMC.Ni1.occupancy"]), "follows from other numbers"),
        (lambda: search_of(NUMBERS, ["spinel.a"]), "no number of the refinement is called spinel.a"),
        (lambda: search_of(NUMBERS.starting({"NMC.size": 0.0}), ["NMC.size"]), "has to be above zero"),
    ],
)
def test_mistakes_are_named(action, said: str) -> None:
    with pytest.raises(MeasurementError, match=said):
        action()


def test_numbers_without_dots_may_be_tied_by_keyword() -> None:
    tied = Parameters({"x": Parameter(1.0), "y": Parameter(5.0)}).tied("y", 2.0, x=3.0)

    assert search_of(tied, ["x"]).values(np.array([4.0]))["y"].value == 14.0

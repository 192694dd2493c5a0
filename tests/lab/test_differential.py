"""dQ/dV: the charge is kept, peaks of a known curve are found with honest errors, a noisy full cell is tamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cathoscope.core.errors import MeasurementError
from cathoscope.lab.differential import differential_of, differential_of_rows, peaks_of
from cathoscope.lab.half_cycles import half_cycles_of
from cathoscope.lab.record import record_of

Array = NDArray[np.float64]
PEAKS = (3.7, 4.1)


def charge_at(v: Array) -> Array:
    """Two transitions on a slope, Ah."""
    steps = [0.5 * h * (1 + np.tanh((v - at) / w)) for at, h, w in zip(PEAKS, (0.5, 0.4), (0.03, 0.02), strict=True)]
    return np.asarray(1e-3 * (0.3 * (v - 3.0) + sum(steps)))


def rows_of(count: int = 4000) -> tuple[Array, Array]:
    """Voltages of rows at equal charges, and those charges."""
    v = np.linspace(3.0, 4.3, 200_001)
    q = charge_at(v)
    at = np.linspace(q[0], q[-1], count)
    return np.interp(at, q, v), np.full(count, at[1] - at[0])


def test_the_integral_is_the_charge_and_the_curve_the_derivative() -> None:
    voltage, charge = rows_of()
    found = differential_of_rows(voltage, charge, smoothing=0.003)
    step = found.voltage[1] - found.voltage[0]
    inner = slice(40, -40)
    true = np.gradient(charge_at(found.voltage), found.voltage)
    assert found.value.sum() * step == pytest.approx(charge.sum(), rel=2e-3)
    np.testing.assert_allclose((found.value - found.bias)[inner], true[inner], atol=3e-3 * true.max())
    # the bias is what smoothing takes: half the square of the width times the second derivative
    bend = np.gradient(np.gradient(true, step), step)
    np.testing.assert_allclose(found.bias[inner], 0.5 * 0.003**2 * bend[inner], atol=3e-3 * true.max())


def test_noise_makes_no_charge_and_its_effect_is_told() -> None:
    """Pulls about the mean of 50 noisy curves, and of the places of both peaks."""
    voltage, charge = rows_of()
    rng = np.random.default_rng(2)
    values, errors, places = [], [], []
    for _ in range(50):
        noisy = voltage + rng.normal(0.0, 1e-3, voltage.size)
        found = differential_of_rows(noisy, charge)
        values.append(np.interp((3.3, 3.66, 3.7, 3.9, 4.09), found.voltage, found.value))
        errors.append(np.interp((3.3, 3.66, 3.7, 3.9, 4.09), found.voltage, found.std))
        peaks = peaks_of(found)
        places.append([(one.voltage - at) / one.voltage_std for one, at in zip(peaks, PEAKS, strict=True)])
    ratio = np.std(values, axis=0) / np.mean(errors, axis=0)
    assert abs(np.log(ratio)).max() < 0.35
    assert abs(np.mean(np.log(ratio))) < 0.15
    assert abs(np.mean(places)) < 0.25
    assert 0.75 < np.std(places) < 1.15


def test_a_discharge_of_a_record_gives_the_same_curve() -> None:
    voltage, charge = rows_of(1000)
    time = np.concatenate([np.arange(1000.0), 1000.0 + np.arange(1000.0)])
    flow = 3600 * charge[0]
    record = record_of(time, np.concatenate([voltage, voltage[::-1]]), np.repeat([flow, -flow], 1000))
    halves = half_cycles_of(record)
    up, down = (differential_of(record, halves, number) for number in (0, 1))
    assert (up.sign, down.sign) == (1, -1)
    np.testing.assert_allclose(up.value, down.value, atol=2e-3 * up.value.max())
    with pytest.raises(MeasurementError, match="no such half cycle"):
        differential_of(record, halves, 2)


@pytest.mark.parametrize(("rows", "smoothing"), [(10, 0.005), (1000, 0.0), (1000, 0.5)])
def test_too_few_rows_or_a_senseless_smoothing_is_refused(rows: int, smoothing: float) -> None:
    with pytest.raises(MeasurementError, match="give no dQ/dV"):
        differential_of_rows(*rows_of(rows), smoothing=smoothing)


def _cell(data_folder: Path, name: str) -> tuple[Array, Array]:
    table = np.loadtxt(data_folder / "lab" / "nmc-ocp-ampworks" / f"{name}.csv", delimiter=",", skiprows=1)
    return table[:, 2], np.abs(np.gradient(table[:, 3]))


def test_rough_full_cells_show_few_sure_peaks(data_folder: Path) -> None:
    """The noise of these files is the same over several rows: white noise would make 20 peaks of it at 5 mV."""
    for name in ("cell1_rough", "cell2_rough"):
        voltage, charge = _cell(data_folder, name)
        found = differential_of_rows(voltage, charge, smoothing=0.008)
        peaks = peaks_of(found)
        assert 2 <= len(peaks) <= 7
        assert found.noise > 1e-4
        step = found.voltage[1] - found.voltage[0]
        assert found.value.sum() * step == pytest.approx(charge.sum(), rel=5e-3)


def test_smooth_nmc_equals_bare_differences(data_folder: Path) -> None:
    voltage, charge = _cell(data_folder, "nmc_smooth")
    found = differential_of_rows(voltage, charge, smoothing=0.012)
    bare = np.interp(found.voltage, voltage[::-1], np.abs(np.gradient(np.cumsum(charge), voltage))[::-1])
    inner = slice(60, -60)
    assert np.abs(found.value - bare)[inner].mean() < 0.01 * bare.max()

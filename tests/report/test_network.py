"""The picture of the pores in space: what shines through, and where there is nothing to draw."""

from __future__ import annotations

import numpy as np
import xarray as xr

from cathoscope.core.schema import dataset, label
from cathoscope.report.figures.network import network_panel

SIZE = 24


def data_with(kind: np.ndarray) -> xr.Dataset:
    coords = {dim: label(dim, 0.1 * np.arange(SIZE), (dim,)) for dim in "zyx"}
    z, y, x = np.indices((SIZE,) * 3) - 11.5
    ball = z**2 + y**2 + x**2 < 10**2
    values = {
        "solid_fraction": (ball & (kind == 0)).astype(np.float32),
        "pore_kind": kind.astype(np.uint8),
        "envelope_mask": ball,
    }
    return dataset([label(name, value, ("z", "y", "x"), coords=coords) for name, value in values.items()])


def test_a_void_is_seen_through_the_envelope_and_named() -> None:
    kind = np.zeros((SIZE,) * 3, dtype=int)
    kind[10:14, 10:14, 10:14] = 2
    panel = network_panel(data_with(kind))
    assert panel is not None
    opened, network = panel.figure.axes
    assert [text.get_text() for text in network.get_legend().get_texts()] == ["void"]
    picture = np.asarray(network.images[0].get_array())
    middle, beside = picture[200, 200], picture[200, 80]
    assert middle[3] == 1.0  # a pore is opaque
    assert 0.05 < beside[3] < 0.3  # what is before and beside it is not
    assert np.ptp(beside[:3]) < 0.01 < np.ptp(middle[:3])  # grey, and the colour of voids
    assert picture[2, 2, 3] == 0.0
    assert np.asarray(opened.images[0].get_array())[200, 80, 3] == 1.0


def test_without_pores_there_is_no_picture() -> None:
    assert network_panel(data_with(np.zeros((SIZE,) * 3, dtype=int))) is None
    assert network_panel(xr.Dataset()) is None

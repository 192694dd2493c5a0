"""Writers of small files in the exact layouts of the instruments, independent of the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

Writer = Callable[..., Path]


@pytest.fixture
def fxi_content() -> dict[str, Any]:
    """Datasets of an FXI scan of 40 projections, 6 rows, 8 columns."""
    rng = np.random.default_rng(1)
    return {
        "img_tomo": rng.integers(500, 60_000, (40, 6, 8)).astype(np.uint16),
        "img_bkg": rng.integers(50_000, 60_000, (5, 6, 8)).astype(np.uint16),
        "img_dark": rng.integers(90, 110, (4, 6, 8)).astype(np.uint16),
        "angle": np.linspace(-90, 89.7, 40),
        "X_eng": 8.35,
        "Magnification": 325.0,
        "Pixel Size": "20.0nm",
        "note": "rod, 150 C",
        "scan_id": 12345,
        "uid": "0f3a",
        "scan_time": "2026-02-01 10:00:00",
        "x_ini": 1.5,
    }


@pytest.fixture
def write_hdf5(tmp_path: Path) -> Writer:
    def write(content: dict[str, Any], name: str = "scan.h5", **options: Any) -> Path:
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            for key, value in content.items():
                file.create_dataset(key, data=value, **(options if np.ndim(value) == 3 else {}))
        return path

    return write


@pytest.fixture
def exchange_content(fxi_content: dict[str, Any]) -> dict[str, Any]:
    """The same scan as Data Exchange."""
    return {
        "exchange/data": fxi_content["img_tomo"],
        "exchange/data_white": fxi_content["img_bkg"],
        "exchange/data_dark": fxi_content["img_dark"],
        "exchange/theta": fxi_content["angle"],
    }


def axis(name: str, unit: str, points: Any) -> str:
    numbers = ", ".join(f"{value:.4f}" for value in points)
    return f'{{ Name = "{name}"; Unit = "{unit}"; Dir = 1;\n\tPoints = ({len(points)}, {numbers});\n}};\n'


@pytest.fixture
def write_stxm(tmp_path: Path) -> Writer:
    """A stack of 3 x 5 pixel images, rows and columns different so that an exchange would be seen."""

    def write(energies: Any, images: Any, *, unit: str = "eV", incident: Any = None, regions: int = 1) -> Path:
        x, y = 100 + 0.25 * np.arange(images.shape[2]), -40 + 0.25 * np.arange(images.shape[1])
        region = "{\n PAxis = " + axis("Sample X", "um", x) + " QAxis = " + axis("Sample Y", "um", y) + "}"
        header = tmp_path / "scan.hdr"
        header.write_text(
            'ScanDefinition = { Label = "scan.hdr"; Type = "NEXAFS Image Scan"; Flags = "Image Stack"; Dwell = 0.5;\n'
            f" Regions = ({regions},\n{', '.join([region] * regions)});\n\n"
            f" StackAxis = {axis('Energy', unit, energies)}\n"
            ' Channels = (1,\n{ Name = "counter1"; Unit = "counts";});\n};\n'
            ' Time = "2007 December 14 18:52:00"; BeamFeedback = true;\n'
            'Image2 = {StorageRingCurrent = 333.08; Time = "2007 December 14 18:52:26";};\n'
        )
        for k, image in enumerate(images):
            lines = ["\t".join(f"{value:.6f}" for value in row) for row in image]
            (tmp_path / f"scan_a{k:03d}.xim").write_text("\n".join(lines) + "\n")
        if incident is not None:
            (tmp_path / "i0.xsp").write_text("".join(f"{e:.7E} {v:.7E}\n" for e, v in incident))
        return header

    return write

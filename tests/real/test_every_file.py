"""Every measured file of imaging, X-ray absorption and diffraction opens, or is refused with the true reason."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

from cathoscope.core.errors import MeasurementError
from cathoscope.io import open_raw
from cathoscope.io.inspect import Description, describe

# Pattern of the path below the data folder -> format, or a part of the reason why there is none. What each file
# is comes from the PROVENANCE.md of its folder. The first pattern that fits counts.
OPENS = {
    "imaging/*/*.txrm": "xradia",
    "imaging/chip-txrm-dxchange/*.xrm": "xradia",
    "imaging/xanespy-ssrl-nca/*_001of0??.xrm": "xradia",
    "imaging/xanespy-ssrl-nca/rep01_*.xrm": "xradia",
    "imaging/diad-k11-nxtomo/k11-18014.nxs": "nxtomo",
    "imaging/tooth-dxchange/tooth.h5": "data_exchange",
    "imaging/stxm-fe-l-toner/*/71214078.hdr": "stxm",
    "imaging/*/FeLibNov2021.nor": "xdi",
    "imaging/*.csv": "columns",
    "imaging/*.tsv": "columns",
    "*/ref_*NiO*.txt": "columns",
    "imaging/*.tif": "tiff",
    "imaging/*.tiff": "tiff",
    "xas/*.xdi": "xdi",
    "xas/*.prj": "athena",
    "xas/*.dat": "columns",
    "diffraction/*.fxye": "gsas",
    "diffraction/*.gsa": "gsas",
    "diffraction/pbso4-xn/PBSO4.???": "gsas",
    "diffraction/*.xye": "powder_columns",
}
REFUSED = {
    "*/PROVENANCE.md": "text for people",
    "*/README*.md": "text for people",
    "*/Readme.txt": "text for people",
    "*.jpg": "JPEG picture of 1280 x 960 pixels, rendered for viewing",
    "*.jpg.txt": "settings with which",
    "*.png": "PNG picture of 2112 x 864 pixels",
    "*/_objects.txt": "15 files and their checksums",
    "*_08348.0_eV_002of010.xrm": "holds no image",
    "*_08400.0_eV_002of010.xrm": "12288 of 2097152 bytes",
    "*/k11-18014-imaging.h5": "open the scan's master file",
    "*/k11-18014-pcompPanda.h5": "its largest array is /entry/gts_theta.value/gts_theta.value (3201,)",
    "*_list_corr.txt": "one column of 73 energies in eV",
    "*/Ni_eng_list.txt": "one column of 101 energies in keV",
    "*/stxm-fe-l-toner/Energy.txt": "one column of 123 energies in eV, by their size (700 to 730.353)",
    "*.xim": "one image of an STXM stack; give the stack's header 71214078.hdr",
    "*/i0.xsp": "incident intensity of an STXM stack",
    "*.[rt]": "two columns of numbers without names",
    "*.msk": "mask drawn in text, 125 x 125",
    "*ssrl-test-data_XANES.txt": "script of a scan",
    "*/ScanInfo_*.txt": "script of a scan",
    "xas/*/nmc_exp_xas.json": "intensity (16 x list of 100 numbers)",
    "diffraction/*.json": "JSON with the keys",
    "diffraction/*.npz": "numpy arrays",
    "diffraction/*.cif": "crystal structure",
    "diffraction/*.instprm": "instrument parameters of a powder diffractometer",
    "diffraction/*.[pP][rR][mM]": "instrument parameters of a powder diffractometer",
}


@pytest.fixture(scope="module")
def descriptions(data_folder: Path) -> dict[str, Description]:
    """What is said of every file."""
    files = sorted(
        file for kind in ("imaging", "xas", "diffraction") for file in (data_folder / kind).rglob("*") if file.is_file()
    )
    return {file.relative_to(data_folder).as_posix(): describe(file) for file in files}


def wanted(name: str, table: dict[str, str]) -> str | None:
    return next((value for pattern, value in table.items() if fnmatch(name, pattern)), None)


def test_every_file_opens_or_is_refused_as_it_should(descriptions: dict[str, Description]) -> None:
    differing = []
    for name, description in descriptions.items():
        reason = wanted(name, REFUSED)
        if reason is not None:
            right = description.refused is not None and reason in description.refused
        else:
            right = description.refused is None and description.reader == wanted(name, OPENS)
        if not right:
            differing.append((name, reason or wanted(name, OPENS), description.reader, description.refused))
    assert differing == []
    assert len(descriptions) > 400


def test_no_reason_is_that_nothing_is_known(descriptions: dict[str, Description]) -> None:
    assert [name for name, it in descriptions.items() if "no reader recognises" in (it.refused or "")] == []


def test_what_is_described_can_be_read(descriptions: dict[str, Description], data_folder: Path) -> None:
    """The last value of every array of every file that opens; what is refused is refused by the reader too."""
    for name, description in descriptions.items():
        if description.refused is not None:
            with pytest.raises(MeasurementError, match=re.escape(Path(name).name)):
                open_raw(data_folder / name)
            continue
        data = open_raw(data_folder / name)
        for array in data.data_vars.values():
            assert np.asarray(array.isel(dict.fromkeys(array.dims, -1)).values).shape == ()


def rows(description: Description) -> dict[str, str]:
    return {name: text for name, text in description.rows if name}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "imaging/chip-txrm-dxchange/txrm_test_chip_tomo.txrm",
            {
                "counts": "7 projection x 256 row x 256 column, uint16",
                "angle": "7 values, -45.018 to 44.98588 deg, step 15 deg",
                "energy": "9200.017 eV",
                "pixel size": "0.1557895 um",
                "exposure": "5 s",
                "scan time": "2015-11-09 18:19:21",
            },
        ),
        ("imaging/diad-k11-nxtomo/k11-18014.nxs", {"exposure": "0.02 s", "start date": "2022-10-15T13:49:39.357"}),
        (
            "xas/xas-xaslib/NiS_rt_01.xdi",
            {"element": "Ni", "edge": "K", "Scan.start_time": "1997-01-17 13:11:19", "use": 'technique = "xas"'},
        ),
        ("xas/xas-larch/NiO.prj", {"NiO.001": "522 points, 8133.001 to 9569.967 eV", "element": "Ni"}),
        (
            "imaging/stxm-fe-l-toner/71214078_FigS4/71214078.hdr",
            {
                "energy": "123 values, 700 to 730.353 eV",
                "pixel size": "0.08 um",
                "dwell": "0.433 ms",
                "use": 'technique = "spectromicroscopy"',
            },
        ),
    ],
)
def test_what_a_person_wants_to_know_is_said(
    descriptions: dict[str, Description], name: str, expected: dict[str, str]
) -> None:
    said = rows(descriptions[name])
    assert {key: said.get(key, "")[: len(text)] for key, text in expected.items()} == expected


def test_what_a_file_cannot_give_is_said(descriptions: dict[str, Description]) -> None:
    chip = descriptions["imaging/chip-txrm-dxchange/txrm_test_chip_tomo.txrm"]
    assert any("no flat and no dark images" in text for text in chip.lacks)
    assert any("7 projections over 90 deg; 256 columns need about 402" in text for text in chip.lacks)
    assert any("7 of 61 images" in remark for remark in chip.remarks)
    tooth = descriptions["imaging/tooth-dxchange/tooth.h5"]
    assert any("no pixel size" in text for text in tooth.lacks)
    assert any("does not tell the energy" in text for text in tooth.lacks)

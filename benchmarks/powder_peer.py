"""One residual of EasyDiffraction (cryspy), CPU seconds, for `powder_refine`: the same phases, points and bank.

It is no dependency and is not installed with cathoscope, as it brings a hundred packages: where ``pip install
easydiffraction`` was done, it is timed. Sizes and strain go into Lorentzian widths of the bank, as it has no others;
that does not change how long a residual takes. The first call makes lists of reflections and is not counted.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cathoscope.core.crystal import Phase

_CALLS = 3
_EIGHT_PI2 = 78.957


def residual_seconds(x: np.ndarray, y: np.ndarray, bank: dict[str, float], phases: Sequence[Phase]) -> float | None:
    """CPU seconds of one residual at times of flight x (us), all phases; None where EasyDiffraction is not installed.

    Raises
    ------
    RuntimeError
        If it calculates nothing, so that its time would say nothing.
    """
    try:
        from easydiffraction.analysis.calculators.cryspy import CryspyCalculator
        from easydiffraction.datablocks.experiment.item.factory import ExperimentFactory
        from easydiffraction.datablocks.structure.item.factory import StructureFactory
    except ImportError:
        return None
    kind = {"sample_form": "powder", "beam_mode": "time-of-flight", "radiation_probe": "neutron"}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        data = Path(folder) / "pattern.xye"
        np.savetxt(data, np.column_stack([x, y, np.sqrt(np.maximum(y, 1.0))]))
        experiment = ExperimentFactory.from_data_path(name="bank", data_path=str(data), scattering_type="bragg", **kind)
    _set_bank(experiment, bank)
    # names in capitals are lost: it looks for the phase of a second call by the name of the first in small letters
    structures = [_structure(StructureFactory.from_scratch(name=one.name.lower()), one) for one in phases]
    for one in structures:
        experiment.linked_phases.create(id=one.name, scale=1.0)
    calculator = CryspyCalculator()
    for one in structures:
        if not np.ptp(calculator.calculate_pattern(one, experiment, called_by_minimizer=False)) > 0:
            raise RuntimeError(f"EasyDiffraction calculates no peaks of {one.name}")
    began = time.process_time()
    for _ in range(_CALLS):
        for one in structures:
            calculator.calculate_pattern(one, experiment, called_by_minimizer=True)
    return (time.process_time() - began) / _CALLS


def _set_bank(experiment: Any, bank: dict[str, float]) -> None:
    instrument, peak = experiment.instrument, experiment.peak
    instrument.setup_twotheta_bank = bank["two_theta"]
    instrument.calib_d_to_tof_offset, instrument.calib_d_to_tof_linear = bank["zero"], bank["difC"]
    instrument.calib_d_to_tof_quad = bank["difA"]
    peak.broad_gauss_sigma_0, peak.broad_gauss_sigma_1 = bank["sig0"], bank["sig1"]
    peak.broad_gauss_sigma_2 = bank["sig2"]
    peak.broad_lorentz_gamma_1, peak.broad_lorentz_gamma_2 = 30.0, 30.0
    peak.broad_mix_beta_0, peak.broad_mix_beta_1 = bank["beta0"], bank["beta1"]
    peak.asym_alpha_0, peak.asym_alpha_1 = 0.0, bank["alpha"]


def _structure(structure: Any, phase: Phase) -> Any:
    name, _, code = phase.space_group.partition(":")
    structure.space_group.name_h_m = name.strip()
    structure.space_group.it_coordinate_system_code = code.strip().lower()
    cell = structure.cell
    cell.length_a, cell.length_b, cell.length_c = phase.cell[:3]
    cell.angle_alpha, cell.angle_beta, cell.angle_gamma = phase.cell[3:]
    for site in phase.sites:
        place = dict(zip(("fract_x", "fract_y", "fract_z"), site.position, strict=True))
        structure.atom_sites.create(
            label=site.label,
            type_symbol=site.species,
            **place,
            occupancy=site.occupancy,
            b_iso=_EIGHT_PI2 * site.u_iso,
        )
    return structure

"""Crystal structures written as CIF, with the standard uncertainties of a refinement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import gemmi

from cathoscope.core.brackets import with_uncertainty
from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import CathoscopeError

_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_TENSOR = ("U11", "U22", "U33", "U12", "U13", "U23")
_SITE = ("x", "y", "z", "occupancy", "U_iso", *_TENSOR)


def written_cif(
    phase: Phase,
    *,
    cell_std: Sequence[float] | None = None,
    site_std: Mapping[str, Mapping[str, float]] | None = None,
    remarks: Sequence[str] = (),
) -> str:
    """The text of a CIF with one phase.

    Parameters
    ----------
    cell_std
        Standard uncertainties of a, b, c (A), alpha, beta, gamma (deg); zero for what symmetry fixes.
    site_std
        Those of the sites by label: "x", "y", "z", "occupancy", "U_iso", "U11", "U22", "U33", "U12", "U13", "U23".
        Numbers without one, or with zero, are written without brackets.
    remarks
        Written as comments on top, such as what was refined.

    Raises
    ------
    CathoscopeError
        If the phase has an unknown space group, or an uncertainty belongs to no site or no number of one.
    """
    group = gemmi.find_spacegroup_by_name(phase.space_group)
    if group is None:
        raise CathoscopeError(
            "not a space group", where=f"phase {phase.name}", expected="such as R -3 m:H", found=phase.space_group
        )
    errors = dict(site_std or {})
    _require_known(phase, errors)
    cell_errors = list(cell_std) if cell_std is not None else [0.0] * 6
    lines = [*(f"# {line}" for remark in remarks for line in remark.splitlines()), f"data_{_block_name(phase.name)}"]
    lines.append(f"_pd_phase_name {_quoted(phase.name)}")
    lines += [
        f"_cell_{tag} {with_uncertainty(value, std)}"
        for tag, value, std in zip(_CELL, phase.cell, cell_errors, strict=True)
    ]
    lines += [
        f"_cell_volume {gemmi.UnitCell(*phase.cell).volume:.4f}",
        f"_space_group_name_H-M_alt {_quoted(group.xhm())}",
        f"_space_group_name_Hall {_quoted(group.hall)}",
        f"_space_group_IT_number {group.number}",
        "loop_",
        "_space_group_symop_operation_xyz",
        *(f"'{operation.triplet()}'" for operation in group.operations()),
    ]
    return "\n".join([*lines, *_atom_lines(phase.sites, errors), *_tensor_lines(phase.sites, errors)]) + "\n"


def _require_known(phase: Phase, errors: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse uncertainties of what is not there."""
    labels = {site.label for site in phase.sites}
    for label, stds in errors.items():
        unknown = [name for name in stds if name not in _SITE]
        if label not in labels or unknown:
            raise CathoscopeError(
                "an uncertainty of nothing",
                where=f"phase {phase.name}, site {label}",
                expected=", ".join(_SITE) if label in labels else f"a site of {', '.join(sorted(labels))}",
                found=", ".join(unknown) or label,
            )


def _atom_lines(sites: Sequence[Site], errors: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The loop over the atoms."""
    tags = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy", "adp_type", "U_iso_or_equiv")
    lines = ["loop_", *(f"_atom_site_{tag}" for tag in tags)]
    for site in sites:
        std = errors.get(site.label, {})
        numbers = [*site.position, site.occupancy]
        columns = [with_uncertainty(value, std.get(name, 0.0)) for name, value in zip(_SITE[:4], numbers, strict=True)]
        kind = "Uiso" if site.u_aniso is None else "Uani"
        displacement = with_uncertainty(site.u_iso, std.get("U_iso", 0.0)) if site.u_aniso is None else "."
        lines.append(" ".join([_quoted(site.label), site.species, *columns, kind, displacement]))
    return lines


def _tensor_lines(sites: Sequence[Site], errors: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The loop over anisotropic displacements, if there are any."""
    lines = []
    for site in sites:
        if site.u_aniso is not None:
            std = errors.get(site.label, {})
            numbers = zip(_TENSOR, site.u_aniso, strict=True)
            columns = [with_uncertainty(value, std.get(name, 0.0)) for name, value in numbers]
            lines.append(" ".join([_quoted(site.label), *columns]))
    tags = ("label", *(f"U_{name[1:]}" for name in _TENSOR))
    return ["loop_", *(f"_atom_site_aniso_{tag}" for tag in tags), *lines] if lines else []


def _block_name(name: str) -> str:
    """A name without blanks and letters outside of ASCII."""
    return re.sub(r"[^!-~]+", "_", name)[:70] or "phase"


def _quoted(text: str) -> str:
    """A value of a CIF, on one line, that reads back as it was."""
    line = " ".join(text.split())
    if "'" not in line:
        return f"'{line}'"
    return f'"{line}"' if '"' not in line else f"\n;{line}\n;"

"""CIF: structures written here line by line, settings told apart, mistakes named, damage survived."""

from __future__ import annotations

import math
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cathoscope.core.brackets import with_uncertainty
from cathoscope.core.crystal import Phase, Site
from cathoscope.core.errors import CathoscopeError, MeasurementError
from cathoscope.io.crystal_cif import read_cif
from cathoscope.io.crystal_cif_write import written_cif
from cathoscope.io.crystal_sign import recognise_cif
from tests.io.fuzz import cut, flip, overwrite

CELL = (2.84, 2.84, 14.3, 90.0, 90.0, 120.0)
SYMBOL = '_symmetry_space_group_name_H-M "R -3 m:H"'
ATOMS = """\
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
_atom_site_U_iso_or_equiv
Li1 Li1+ 0 0 0.5 0.96(1) 0.012
Ni2 Ni2+ 0 0 0.5 0.04(1) 0.012
Ni1 Ni3+ 0 0 0 1 0.005(2)
O1 O2- 0 0 0.2360(4) . 0.008
"""


def cell_lines(cell: tuple[object, ...] = ("2.8400(3)", 2.84, 14.3, 90, 90, 120)) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    return "".join(f"_cell_{name} {value}\n" for name, value in zip(names, cell, strict=True))


def file_of(folder: Path, *, cell: str | None = None, group: str = SYMBOL, atoms: str = ATOMS, start: str = "") -> Path:
    path = folder / "structure.cif"
    path.write_text(f"{start}data_nmc\n{cell_lines() if cell is None else cell}{group}\n{atoms}", encoding="utf-8")
    return path


def operations(name: str, tag: str = "_space_group_symop_operation_xyz") -> str:
    group = gemmi.find_spacegroup_by_name(name).operations()
    return "\n".join(["loop_", tag, *(f"'{one.triplet()}'" for one in group)])


def test_a_structure_is_read_as_it_stands(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    phase, remarks = read_cif(path)

    assert recognise_cif(path) is None
    assert phase == Phase(
        "nmc",
        "R -3 m:H",
        CELL,
        (
            Site("Li1", "Li+", (0, 0, 0.5), 0.96, 0.012),
            Site("Ni2", "Ni2+", (0, 0, 0.5), 0.04, 0.012),
            Site("Ni1", "Ni3+", (0, 0, 0), 1.0, 0.005),
            Site("O1", "O2-", (0, 0, 0.236), 1.0, 0.008),
        ),
        source=str(path),
    )
    assert remarks == ()
    assert read_cif(path, name="rod")[0].name == "rod"


@pytest.mark.parametrize(
    ("group", "cell", "expected", "said"),
    [
        ('_symmetry_space_group_name_H-M "R -3 m"', CELL, "R -3 m:H", ""),
        ('_symmetry_space_group_name_H-M "R-3m"', (5.04, 5.04, 5.04, 32.7, 32.7, 32.7), "R -3 m:R", ""),
        ("_space_group_name_Hall '-R 3 2\"'", CELL, "R -3 m:H", ""),
        ("_space_group_IT_number 166", CELL, "R -3 m:H", "only the number 166"),
        ("_space_group_name_H-M_alt 'F d -3 m:1'", (8.12,) * 3 + (90,) * 3, "F d -3 m:1", ""),
        ("_space_group_name_H-M_alt 'F d -3 m'", (8.12,) * 3 + (90,) * 3, "F d -3 m:2", "two origins"),
        ("_space_group_name_H-M_alt 'F d -3 m S'", (8.12,) * 3 + (90,) * 3, "F d -3 m:1", ""),
        ("_space_group_name_H-M_alt 'F d -3 m Z'", (8.12,) * 3 + (90,) * 3, "F d -3 m:2", ""),
        (
            "_space_group_name_H-M_alt 'F d -3 m'\n" + operations("F d -3 m:1"),
            (8.12,) * 3 + (90,) * 3,
            "F d -3 m:1",
            "",
        ),
        (
            "_space_group_name_H-M_alt 'F d -3 m'\n" + operations("F d -3 m:2"),
            (8.12,) * 3 + (90,) * 3,
            "F d -3 m:2",
            "",
        ),
        (operations("P n m a", "_symmetry_equiv_pos_as_xyz"), (8.5, 5.4, 7.0, 90, 90, 90), "P n m a", ""),
        (
            "_space_group_name_H-M_alt 'P b n m'\n" + operations("P n m a"),
            (8.5, 5.4, 7.0, 90, 90, 90),
            "P n m a",
            "the symbol says P b n m",
        ),
        (
            "_space_group_name_H-M_alt 'odd'\n" + operations("P n m a"),
            (8.5, 5.4, 7.0, 90, 90, 90),
            "P n m a",
            "not known",
        ),
    ],
)
def test_group_and_setting(tmp_path: Path, group: str, cell: tuple[float, ...], expected: str, said: str) -> None:
    phase, remarks = read_cif(file_of(tmp_path, cell=cell_lines(cell), group=group))

    assert phase.space_group == expected
    assert len(remarks) == bool(said)
    assert said in "".join(remarks)


def test_generators_are_enough(tmp_path: Path) -> None:
    group = "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n-x,-y,-z\n-x,y+1/2,-z+1/2"
    phase, _ = read_cif(file_of(tmp_path, cell=cell_lines((5, 6, 7, 90, 100, 90)), group=group))
    assert phase.space_group == "P 1 21/c 1"


@pytest.mark.parametrize(("letter", "per_u"), [("U", 1.0), ("B", 8 * math.pi**2)])
def test_displacements_of_every_form(tmp_path: Path, letter: str, per_u: float) -> None:
    tensor = (0.008, 0.008, 0.010, 0.004, 0.0, 0.0)
    names = ("label", "fract_x", "fract_y", "fract_z", "occupancy", f"{letter}_iso_or_equiv", "adp_type")
    pairs = ("11", "22", "33", "12", "13", "23")
    atoms = "\n".join(
        [
            "loop_",
            *(f"_atom_site_{name}" for name in names),
            f"Ni1 0 0 0 1 {0.01 * per_u:.6f}(9) {letter}iso",
            f"O1 0 0 .236 1 ? {letter}ani",
            f"Co1 0 0 .4 0.1 {0.004 * per_u:.6f} {letter}ani",
            "loop_",
            "_atom_site_aniso_label",
            *(f"_atom_site_aniso_{letter}_{pair}" for pair in pairs),
            "O1 " + " ".join(f"{value * per_u:.7f}(3)" for value in tensor),
            "",
        ]
    )
    phase, remarks = read_cif(file_of(tmp_path, atoms=atoms))
    nickel, oxygen, cobalt = phase.sites

    assert (nickel.u_iso, nickel.u_aniso) == (pytest.approx(0.01, rel=1e-5), None)
    assert oxygen.u_aniso == pytest.approx(tensor, abs=1e-8)
    assert (cobalt.u_iso, cobalt.u_aniso) == (pytest.approx(0.004, rel=1e-5), None)
    assert remarks == ("a displacement is called anisotropic without a tensor; the isotropic one is taken",)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    atoms = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
    phase, remarks = read_cif(file_of(tmp_path, atoms=atoms + "Ni1 0 0 0\nO 0 0 0.236\nO 0 0 0.3\n"))

    assert [site.label for site in phase.sites] == ["Ni1", "O", "O_2"]
    assert [site.occupancy for site in phase.sites] == [1.0] * 3
    assert any("no occupancy" in remark for remark in remarks)
    assert any("no displacement" in remark for remark in remarks)
    assert any("O_2" in remark for remark in remarks)


def test_overfull_sites_and_negative_displacements_are_said(tmp_path: Path) -> None:
    atoms = ATOMS.replace("0.04(1) 0.012", "0.14 -0.004")
    _, remarks = read_cif(file_of(tmp_path, atoms=atoms))

    assert remarks == ("the displacement of Ni2 is below zero", "Li1, Ni2 fill one site 1.1 times")


def test_one_of_several_blocks(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    path.write_text(path.read_text() + path.read_text().replace("data_nmc", "data_other") + "data_nothing\n_x 1\n")

    with pytest.raises(MeasurementError, match="2 structures"):
        read_cif(path)
    assert read_cif(path, block="other")[0].name == "other"
    with pytest.raises(MeasurementError, match="no block third"):
        read_cif(path, block="third")


def test_letters_of_two_encodings(tmp_path: Path) -> None:
    path = file_of(tmp_path, start="\ufeff# Å\n")
    assert read_cif(path)[0].name == "nmc"
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("latin-1"))
    assert read_cif(path)[0].name == "nmc"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": ""}, "no space group that is known"),
        ({"group": "_symmetry_space_group_name_H-M 'R -9 m'"}, "no space group that is known"),
        ({"group": "_space_group_IT_number 999"}, "no space group that is known"),
        ({"group": "_space_group_name_Hall 'nonsense'"}, "Hall symbol cannot be read"),
        ({"group": SYMBOL + "\nloop_\n_symmetry_equiv_pos_as_xyz\nx,y\n"}, "operations cannot be read"),
        ({"group": SYMBOL + "\n" + operations("P n m a")}, "operations contradict the symbol"),
        ({"group": SYMBOL + "\nloop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n"}, "operations contradict the symbol"),
        ({"group": "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\nx,y,z+1/5\n"}, "operations"),
        ({"cell": cell_lines((2.84, 2.95, 14.3, 90, 90, 120))}, "cell contradicts the space group"),
        ({"cell": cell_lines((5.04, 5.04, 5.04, 32.7, 32.7, 32.7))}, "cell contradicts the space group"),
        ({"cell": cell_lines((2.84, "?", 14.3, 90, 90, 120))}, "cell is not whole"),
        ({"cell": cell_lines((2.84, 2.84, 14.3, 90, 90, 190))}, "cell is not whole"),
        ({"cell": cell_lines((5, 5, 5, 120, 120, 120))}, "cell is not whole"),
        ({"cell": ""}, "cell is not whole"),
        ({"atoms": ""}, "no atoms"),
        ({"atoms": "loop_\n_atom_site_label\n_atom_site_fract_x\nNi 0\n"}, "no coordinates or no names"),
        ({"atoms": ATOMS.replace("0.2360(4)", "3.37e1")}, "atom O1"),
        ({"atoms": ATOMS.replace("0.2360(4)", "?")}, "fract_z cannot be used"),
        ({"atoms": ATOMS.replace("0.96(1)", "1.3")}, "occupancy cannot be used"),
        ({"atoms": ATOMS.replace("0.96(1)", "-0.1")}, "occupancy cannot be used"),
        ({"atoms": ATOMS.replace("O1 O2-", "W1 Wat")}, "no known element"),
        ({"atoms": ATOMS.replace("O1 O2-", "? ?")}, "no known element"),
        ({"atoms": ATOMS + "Ni9 Ni 0 0\n"}, "no CIF, or is damaged"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = file_of(tmp_path, **change)
    with pytest.raises(MeasurementError, match=message) as raised:
        read_cif(path)
    assert "structure.cif" in str(raised.value)


def test_what_is_no_cif(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("energy absorption\n1 2\n")
    assert recognise_cif(path) == "no block data_ begins the file"
    with pytest.raises(MeasurementError, match="no CIF"):
        read_cif(path)
    path.write_text("")
    with pytest.raises(MeasurementError, match="empty"):
        read_cif(path)
    with pytest.raises(MeasurementError, match="cannot be read"):
        read_cif(tmp_path / "absent.cif")
    assert recognise_cif(tmp_path / "absent.cif") is not None


@pytest.mark.parametrize("text", ["Ni", "Ni2+", "Ni+2", "ni", "NI2+"])
def test_ions_however_they_are_written(tmp_path: Path, text: str) -> None:
    phase, _ = read_cif(file_of(tmp_path, atoms=ATOMS.replace("Ni3+", text)))
    assert phase.sites[2].species == ("Ni2+" if "2" in text else "Ni")


@pytest.mark.parametrize(("text", "species"), [("7Li", "7Li"), ("D", "D"), ("O0", "O"), ("Na1+", "Na+"), (".", "Ni")])
def test_isotopes_and_charges(tmp_path: Path, text: str, species: str) -> None:
    phase, _ = read_cif(file_of(tmp_path, atoms=ATOMS.replace("Ni3+", text)))
    assert phase.sites[2].species == species


def test_real_files(data_folder: Path) -> None:
    folder = data_folder / "diffraction"
    found = {path.stem: read_cif(path)[0] for path in sorted(folder.glob("*/*.cif"))}

    assert {name: phase.space_group for name, phase in found.items()} == {
        "CuCr2O4": "F d d d:2",  # "Fddd" in the file: by the operations
        "CuO": "C 1 2/c 1",
        "CaF2": "F m -3 m",
        "NAC": "I 21 3",
        "NMC_R3m": "R -3 m:H",
        "spinel": "F d -3 m:2",
    }
    assert found["NAC"].sites[-1].u_aniso == (0.0095, 0.0095, 0.0095, 0.0007, 0.0007, 0.0007)
    assert [site.occupancy for site in found["NMC_R3m"].sites] == [0.46, 0.04, 0.76, 0.1, 0.1, 0.04, 1.0]


@pytest.mark.parametrize("seed", range(8))
def test_damaged_files_give_a_phase_or_a_named_mistake(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = file_of(tmp_path, group=SYMBOL + "\n" + operations("R -3 m:H"))
    whole = {path: path.read_bytes()}
    for damage in (cut, flip, overwrite):
        for _ in range(12):
            path.write_bytes(damage(rng, whole)[1])
            try:
                phase, _ = read_cif(path)
            except MeasurementError as error:
                assert "structure.cif" in str(error)  # noqa: PT017
            else:
                assert phase.sites
                assert gemmi.find_spacegroup_by_name(phase.space_group) is not None
                assert all(np.isfinite([*phase.cell, *(x for site in phase.sites for x in site.position)]))


POSITIONS = st.tuples(*[st.integers(-99999, 99999).map(lambda n: n / 1e5)] * 3)
SHARES = st.integers(0, 1000).map(lambda n: n / 1e3)
TENSORS = st.one_of(st.none(), st.tuples(*[st.integers(-999, 999).map(lambda n: n / 1e4)] * 6))


@given(
    st.lists(
        st.tuples(st.sampled_from(["Ni", "O2-", "7Li", "Na+"]), POSITIONS, SHARES, TENSORS), min_size=1, max_size=4
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(lambda s: s.strip()),
)
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, atoms: list[tuple[str, tuple[float, ...], float, object]], name: str
) -> None:
    sites = tuple(
        Site(f"A{number}", species, position, share, 0.005 if tensor else 0.0123, tensor)
        for number, (species, position, share, tensor) in enumerate(atoms)
    )
    path = tmp_path_factory.getbasetemp() / "again.cif"
    path.write_text(written_cif(Phase(name, "P -1", (5.1, 6.2, 7.3, 80.5, 95.25, 101.0), sites)), encoding="utf-8")
    phase, _ = read_cif(path)

    assert phase == Phase(" ".join(name.split()), "P -1", (5.1, 6.2, 7.3, 80.5, 95.25, 101.0), sites, source=str(path))


def test_uncertainties_are_written_and_left_out_again(tmp_path: Path) -> None:
    phase, _ = read_cif(file_of(tmp_path))
    text = written_cif(
        phase,
        cell_std=(9e-5, 9e-5, 4.3e-4, 0, 0, 0),
        site_std={"O1": {"z": 1.13e-4, "U_iso": 4.2e-4}, "Li1": {"occupancy": 0.004}},
        remarks=["Rwp 5.05 %"],
    )
    path = tmp_path / "refined.cif"
    path.write_text(text)

    assert text.startswith("# Rwp 5.05 %\ndata_nmc\n")
    assert "_cell_length_a 2.84000(9)\n" in text
    assert "_cell_length_c 14.3000(4)\n" in text
    assert "'O1' O2- 0 0 0.23600(11) 1 Uiso 0.0080(4)" in text
    assert "'Li1' Li+ 0 0 0.5 0.960(4) Uiso 0.012" in text
    assert read_cif(path)[0].sites == phase.sites


@pytest.mark.parametrize(
    ("value", "std", "text"),
    [
        (2.84003, 9e-5, "2.84003(9)"),
        (2.84003, 1.9e-4, "2.84003(19)"),
        (2.84003, 1.96e-4, "2.8400(2)"),
        (-0.5, 0.0, "-0.5"),
        (1 / 3, 0.0, "0.333333"),
        (-1e-9, 0.0, "0"),
        (1234.5, 30.0, "1234(30)"),
        (0.5, math.nan, "0.5"),
    ],
)
def test_numbers_with_brackets(value: float, std: float, text: str) -> None:
    assert with_uncertainty(value, std) == text


def test_uncertainties_of_nothing_are_refused(tmp_path: Path) -> None:
    phase, _ = read_cif(file_of(tmp_path))
    with pytest.raises(CathoscopeError, match="uncertainty of nothing"):
        written_cif(phase, site_std={"Xe1": {"z": 0.1}})
    with pytest.raises(CathoscopeError, match="uncertainty of nothing"):
        written_cif(phase, site_std={"O1": {"B": 0.1}})
    with pytest.raises(CathoscopeError, match="not a space group"):
        written_cif(Phase("odd", "R -9 m", CELL, phase.sites))

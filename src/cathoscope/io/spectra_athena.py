"""Projects of Athena, as Ifeffit's Athena and Demeter write them (.prj), plain or gzip.

Schema
------
As `spectra` states it: ``scan_energy``, ``absorption``, ``reference_absorption``. Groups that Athena tied to a
sample as its reference (named ``Ref ...``, on the same energies) are the ``reference_absorption`` of that sample;
every other group of mu(E) is a spectrum of its own.

Uncertainties
-------------
``@stddev`` of merged groups is not read: it is the spread of the merged scans before alignment and calibration.

Metadata
--------
Attributes ``format``, ``source``, ``remarks``; ``element`` and ``edge`` where all groups have the same; ``metadata``
with the first line; ``labels`` with ``group``, ``e0`` (eV, Athena's, on the energies after its shift),
``energy_shift`` (eV, Athena's, not applied), ``importance`` and ``normalised``.

File structure
--------------
Perl assignments, one a line: ``$old_group = 'abcd';``, ``@args = ('key','value',...);``, ``@x = ('8133.0',...);``
(eV), ``@y``, perhaps ``@i0``, ``@signal``, ``@stddev``, and ``[record]``, which ends a group. Values are texts in
quotes, bare numbers, ``!!0``, ``undef``, lists in ``[]`` and hashes in ``{}``.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from cathoscope.core.errors import MeasurementError
from cathoscope.io.lazy import COPY_AGAIN
from cathoscope.io.spectra import Floats, Spectrum, bulk_dataset

_MOST_BYTES = 16 * 2**20
_GZIP = b"\x1f\x8b"
_SIGNATURE = re.compile(r"#\s*Athena (project|record) file")
_LONGEST_ARGS = 2**20
_ASSIGNMENT = re.compile(r"([$@])(old_group|args|x|y)\s*=")
# A text in quotes with Perl's escapes, which the end of the line may cut, a bare word or number, or a bracket.
_TOKEN = re.compile(
    r"""'((?:[^'\\]|\\.)*+)(?:'|\\?\Z)|"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)|([^\s,()\[\]{}'"=>;]+)|([\[\](){}])""", re.DOTALL
)
_ESCAPE = re.compile(r"\\(?:x\{([0-9a-fA-F]{1,6})\}|(.))", re.DOTALL)
_CODE_POINTS = 0x110000


@dataclass
class _Group:
    """One record of a project."""

    name: str
    args: dict[str, str] = field(default_factory=dict)
    x: Floats = field(default_factory=lambda: np.empty(0))
    y: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def label(self) -> str:
        """Name that a person gave."""
        return self.args.get("label", "").strip() or self.name

    def is_set(self, key: str) -> bool:
        """Whether a flag is true, as Perl takes it."""
        return self.args.get(key, "") not in ("", "0", "!!0", "undef")

    def number(self, key: str) -> float | None:
        """A finite number of the arguments, or None."""
        try:
            value = float(self.args.get(key, ""))
        except ValueError:
            return None
        return value if np.isfinite(value) else None


def recognise_athena(path: Path) -> str | None:
    """None if the first line is that of an Athena project, else the reason why not."""
    try:
        with path.open("rb") as file:
            begin = file.read(4096)
    except OSError as error:
        return str(error)
    if begin.startswith(_GZIP):
        try:
            begin = zlib.decompressobj(wbits=31).decompress(begin, 4096)
        except zlib.error as error:
            return f"compressed, but damaged ({error})"
    text = begin.decode("utf-8-sig", errors="replace")
    if _SIGNATURE.match(text):
        return None
    if "Athena project file" in text[:200]:
        return "an Athena project as JSON; save it from Athena as .prj in Perl's form"
    return "the first line is not # Athena project file"


def open_athena(paths: Sequence[Path], angle_range: tuple[float, float] | None = None) -> xr.Dataset:
    """The groups of the Athena project ``paths[0]`` (see the module's docstring).

    Parameters
    ----------
    paths
        The file.
    angle_range
        Not used: there are no projections.

    Raises
    ------
    MeasurementError
        If the file is damaged, or has no group of mu(E).
    """
    path = paths[0]
    text = _read(path)
    remarks: list[str] = []
    groups = [group for group in _groups(path, text, remarks) if _is_spectrum(group, remarks)]
    if not groups:
        raise _damaged(path, "no group of mu(E)")
    known = {group.name: group for group in groups}
    references = _references(known, remarks)
    tied = set(references.values())
    spectra = [
        _spectrum(group, known[references[group.name]] if group.name in references else None)
        for group in groups
        if group.name not in tied
    ]
    remarks += _shift_remarks(groups)
    attrs = {}
    for attribute, key in (("element", "bkg_z"), ("edge", "fft_edge")):
        found = {group.args.get(key, "").capitalize() for group in groups}
        if len(found) == 1 and (value := found.pop()):
            attrs[attribute] = value
    metadata = {"header": text[:200].splitlines()[0].lstrip("# ")}
    return bulk_dataset(spectra, path, remarks, format="athena", **attrs, metadata=metadata)


def _damaged(path: Path, found: str) -> MeasurementError:
    return MeasurementError(
        "the Athena project is truncated or damaged",
        where=path,
        expected="groups of $old_group, @args, @x and @y",
        found=found,
        cure=COPY_AGAIN,
    )


def _read(path: Path) -> str:
    """The text, at most 16 MB of it: a small compressed file may hold any size."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP
        with gzip.open(path) if compressed else path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    if len(content) > _MOST_BYTES:
        raise _damaged(path, f"more than {_MOST_BYTES} bytes")
    text = content.decode("utf-8-sig", errors="replace")
    if not _SIGNATURE.match(text):
        raise _damaged(path, f"{text[:60]!r} as the first line")
    return text


def _groups(path: Path, text: str, remarks: list[str]) -> Iterator[_Group]:
    """The records, each complete; the last one may lack its end."""
    group: _Group | None = None
    for line in text.splitlines():
        if line.startswith("[record]"):
            if group is not None:
                yield group
            group = None
            continue
        match = _ASSIGNMENT.match(line)
        if match is None:
            continue
        sigil, name = match.groups()
        value = line[match.end() :]
        if sigil + name == "$old_group":
            if group is not None:
                remarks.append(f"the record of {group.label} has no end")
                yield group
            group = _Group("".join(_texts(value)))
        elif group is None:
            raise _damaged(path, f"{sigil}{name} outside of a group")
        elif not line.rstrip().endswith(");"):
            raise _damaged(path, f"the file ends inside @{name} of {group.label}")
        elif name == "args":
            group.args = _pairs(path, group, value)
        else:
            setattr(group, name, _numbers(path, group, name, value))
    if group is not None:
        raise _damaged(path, f"the file ends inside the group {group.label}")


def _texts(value: str) -> Iterator[str]:
    """Items of a Perl list, without their quotes; lists and hashes in it are one empty item each."""
    depth = 0
    for token in _TOKEN.finditer(value):
        single, double, bare, bracket = token.groups()
        if bracket in ("[", "{"):
            if depth == 0:
                yield ""
            depth += 1
        elif bracket in ("]", "}"):
            depth -= 1
        elif depth == 0 and not bracket:
            yield bare or _ESCAPE.sub(_unescaped, single or double or "")


def _unescaped(match: re.Match[str]) -> str:
    if match.group(1) is None:
        return match.group(2)
    code = int(match.group(1), 16)
    return chr(code) if code < _CODE_POINTS else "?"


def _pairs(path: Path, group: _Group, value: str) -> dict[str, str]:
    if len(value) > _LONGEST_ARGS:
        raise _damaged(path, f"@args of {group.label} has {len(value)} characters")
    items = list(_texts(value))
    return dict(zip(items[::2], items[1::2], strict=False))


def _numbers(path: Path, group: _Group, name: str, value: str) -> Floats:
    """Numbers of a Perl list; what Perl writes for none is NaN."""
    items = ("nan" if item in ("", "undef") else item for item in _texts(value))
    try:
        return np.fromiter((float(item) for item in items), dtype=np.float64)
    except ValueError as error:
        raise _damaged(path, f"@{name} of {group.label}: {error}") from error


def _is_spectrum(group: _Group, remarks: list[str]) -> bool:
    """Whether a group holds mu(E) on as many energies; what is set aside has a remark."""
    is_energy = group.args.get("datatype", "xmu") in ("xmu", "xanes", "xmudat", "norm", "")
    is_chi = group.is_set("is_chi") or group.is_set("is_rsp") or group.is_set("is_qsp") or not is_energy
    stated = any(key in group.args for key in ("is_xmu", "is_nor", "is_xanes"))
    is_xmu = any(group.is_set(key) for key in ("is_xmu", "is_nor", "is_xanes", "is_xmudat")) or not stated
    if is_chi or not is_xmu:
        remarks.append(f"group {group.label} is no mu(E) (it may be chi(k)) and is set aside")
        return False
    if not group.x.size == group.y.size > 0:
        remarks.append(f"group {group.label} has {group.x.size} energies and {group.y.size} values and is set aside")
        return False
    return True


def _references(known: Mapping[str, _Group], remarks: list[str]) -> dict[str, str]:
    """Names of sample groups, each with the name of the group of its foil."""
    found: dict[str, str] = {}
    for group in known.values():
        sample = known.get(group.args.get("referencegroup", ""))
        if sample is None or sample.args.get("referencegroup") != group.name or sample is group:
            continue
        if group.label == f"Ref {sample.label}" and np.array_equal(group.x, sample.x, equal_nan=True):
            found[sample.name] = group.name
    if found:
        remarks.append(f"{len(found)} groups named Ref are the reference_absorption of the samples they are tied to")
    return found


def _spectrum(group: _Group, foil: _Group | None) -> Spectrum:
    labels = {
        "group": group.name,
        "e0": group.number("bkg_e0"),
        "energy_shift": group.number("bkg_eshift"),
        "importance": group.number("importance"),
        "normalised": group.is_set("is_nor"),
    }
    return Spectrum(group.label, group.x, group.y, None if foil is None else foil.y, labels)


def _shift_remarks(groups: Sequence[_Group]) -> list[str]:
    shifts = [shift for group in groups if (shift := group.number("bkg_eshift"))]
    if not shifts:
        return []
    span = f"{min(shifts):g}" if min(shifts) == max(shifts) else f"{min(shifts):g} to {max(shifts):g}"
    return [
        f"Athena shifted {len(shifts)} of {len(groups)} groups by {span} eV; "
        "the energies are those recorded, without that shift"
    ]

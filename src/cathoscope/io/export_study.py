"""Arrays of a study as files that other programs open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zarr

from cathoscope.core.errors import CathoscopeError, StudyError
from cathoscope.core.parallel import Progress, Resources, run_slabs, shortage
from cathoscope.core.study import Study
from cathoscope.io import export_hdf5, export_powder, export_records, export_sandbox, export_tiff, export_zarr
from cathoscope.io.export_target import Output, refuse_existing, whole
from cathoscope.io.export_volume import Block, Volume, blocks_of, bytes_per_row, volumes_of

_CHUNKS_AT_ONCE = 2
FORMS = {
    "ome-zarr": "OME-Zarr 0.5, one image per array: napari, Fiji, neuroglancer, web viewers",
    "tiff": "ImageJ hyperstacks, one per array and temperature: Fiji, Dragonfly, Avizo",
    "hdf5": "one file per measurement with coordinates: Python, MATLAB, Avizo",
    "txm-sandbox": "one file per temperature in the layout of TXM-Sandbox",
    "cif": "refined phases of powder diffraction, one file per phase and temperature",
    "csv": "numbers and patterns of powder diffraction: spreadsheets",
    "instprm": "instrument parameters from a standard of powder diffraction: GSAS-II, recipes",
}


@dataclass(frozen=True)
class Choice:
    """What to export: the form, and measurements and arrays by name; none named means all, and the usual ones."""

    form: str = "ome-zarr"
    measurements: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise CathoscopeError(
                "unknown form of export",
                expected=" or ".join([*FORMS, export_records.FORM]),
                found=repr(self.form),
                cure="--as ome-zarr",
            )
        if self.form in export_powder.FORMS and self.arrays:
            raise CathoscopeError(
                f"--as {self.form} writes all of a refinement",
                found=f"--array {self.arrays[0]}",
                cure="leave --array out",
            )


def export_study(
    study: Study, folder: Path, choice: Choice, *, overwrite: bool, resources: Resources, progress: Progress
) -> list[Path]:
    """Write arrays of ``study`` into ``folder``, slab by slab; returns the files and folders made.

    Each of them appears under its name when it is complete. The bytes do not depend on threads or memory.

    Raises
    ------
    CathoscopeError
        If a name is unknown, an array has no voxels, or a target is there and ``overwrite`` is false. Nothing has been
        written then.
    StudyError
        If the study has no results with voxels, or the folder cannot be written.
    """
    if choice.form in export_powder.FORMS:
        names = _named(study, choice) or study.measurements("result")
        return export_powder.export_powder(study, folder, choice.form, names, overwrite=overwrite, progress=progress)
    made = outputs_of(study, folder, choice, resources)
    if not overwrite:
        refuse_existing([output.target for output in made])
    # zarr decodes several chunks at once, and each chunk of this study holds 20 energies
    with zarr.config.set({"async.concurrency": _CHUNKS_AT_ONCE}):
        for output in made:
            _write(output, resources, progress)
    return [output.target for output in made]


def outputs_of(study: Study, folder: Path, choice: Choice, resources: Resources) -> list[Output]:
    """The files that an export is going to make.

    Raises
    ------
    CathoscopeError, StudyError
        As `export_study` does for names.
    """
    sandbox = choice.form == "txm-sandbox"
    volumes: list[Volume] = []
    for measurement in _measurements(study, choice):
        volumes += volumes_of(
            study, measurement, _with_cube(choice.arrays) if sandbox else choice.arrays, expand=sandbox
        )
    if choice.form == "tiff":
        return export_tiff.outputs(volumes, folder, resources)
    write = {"ome-zarr": export_zarr, "hdf5": export_hdf5, "txm-sandbox": export_sandbox}[choice.form]
    found: list[Output] = write.outputs(volumes, folder)
    return found


def _with_cube(arrays: Sequence[str]) -> tuple[str, ...]:
    """TXM-Sandbox opens nothing without the attenuation."""
    return tuple(dict.fromkeys([*arrays, "attenuation"])) if arrays else ()


def _measurements(study: Study, choice: Choice) -> list[str]:
    """Measurements that are named; else those that have the arrays that are."""
    # Of a study with several techniques, those that have something to give.
    there = study.measurements("result")
    return _named(study, choice) or [name for name in there if _gives(study, name, choice)] or there


def _named(study: Study, choice: Choice) -> list[str]:
    """Measurements that are named, each once; refused if one is not there, or the study has no results."""
    there = study.measurements("result")
    if not there:
        raise StudyError("the study has no results yet", where=study.path, cure="cathoscope run RECIPE")
    for name in choice.measurements:
        if name not in there:
            raise CathoscopeError(
                f"there is no measurement {name}",
                where=study.path,
                found=", ".join(there),
                cure=f"--measurement {there[0]}",
            )
    return list(dict.fromkeys(choice.measurements))


def _gives(study: Study, measurement: str, choice: Choice) -> bool:
    try:
        volumes = volumes_of(study, measurement, choice.arrays, expand=choice.form == "txm-sandbox")
        if choice.form == "txm-sandbox":
            export_sandbox.cube_of(volumes)
    except (CathoscopeError, StudyError):
        return False
    return True


def _write(output: Output, resources: Resources, progress: Progress) -> None:
    parts = [
        (volume, block)
        for volume in output.volumes
        for block in blocks_of(volume, temperature=_own(volume, output.temperature), resources=resources)
    ]
    # What is written needs at least the thinnest slab of one channel.
    short = shortage(bytes_per_row=max(bytes_per_row(volume, 1) for volume in output.volumes), resources=resources)
    if short is not None:
        progress.remark(f"{output.target.name}: {short}")
    with whole(output.target) as path, output.opened(path) as store:
        progress.start(f"export {output.target.name}", len(parts), "slabs")

        def copy(part: tuple[Volume, Block]) -> None:
            """One block from the study to the export."""
            volume, block = part
            store(volume, block, volume.read(block))
            progress.advance()

        run_slabs(copy, parts, threads=resources.threads)
        progress.finish()


def _own(volume: Volume, temperature: int | None) -> int | None:
    """The temperature of a volume that goes into a file; a volume without temperatures goes into every one."""
    return temperature if temperature is None or volume.temperatures is not None else 0

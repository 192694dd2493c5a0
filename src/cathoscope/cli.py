"""The command line: new, simulate, check, run, compare, report, export, formats, inspect, doctor."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

import cathoscope
from cathoscope.core.errors import (
    CathoscopeError,
    Interrupted,
    MeasurementError,
    RecipeError,
    StudyError,
    not_enough_memory,
)
from cathoscope.core.parallel import Resources
from cathoscope.core.units import parse
from cathoscope.terminal import TerminalProgress

if TYPE_CHECKING:
    from cathoscope.flow.compare import Comparison
    from cathoscope.flow.run import RunOutcome

# Commands import what they need when they run: numerical libraries take seconds to load, and help should not.

_EXIT_CODES = (
    "Exit codes: 0 all well; 2 the recipe or the command line is wrong; 3 a measurement cannot be used; "
    "4 the study cannot be read or written; 130 stopped."
)

app = typer.Typer(
    name="cathoscope",
    help="From raw in situ measurements of battery cathode particles to numbers with error bars, figures and "
    "one report.\n\nStart with:  cathoscope new study.toml",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
_CORES = os.cpu_count() or 1
_out = Console()
_err = Console(stderr=True)

F = TypeVar("F", bound=Callable[..., Any])

RecipeArgument = Annotated[Path, typer.Argument(help="The recipe, a TOML file. Make one with: cathoscope new")]
StudyArgument = Annotated[Path, typer.Argument(help="The study, a folder that ends in .zarr")]
DataOption = Annotated[
    Path | None, typer.Option(help="Folder that holds the measured files; overrides what the recipe says.")
]
ThreadsOption = Annotated[int, typer.Option(help="Threads; the result does not depend on it.", min=1)]
MemoryOption = Annotated[str, typer.Option(help="Memory for the values worked on at a time, such as 4GB.")]
StudyOption = Annotated[Path | None, typer.Option(help="Where the study is kept [default: RECIPE with .zarr]")]


def _friendly(command: F) -> F:
    """Print our own errors as plain words and leave with their exit code."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        """The command, with errors of ours as text and an exit code."""
        try:
            command(*args, **kwargs)
        except (CathoscopeError, MemoryError) as raised:
            error = not_enough_memory(raised) if isinstance(raised, MemoryError) else raised
            _err.print(str(error), style="bold red", markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _err.print("stopped", style="bold red")
            raise typer.Exit(Interrupted.exit_code) from None

    return wrapped  # type: ignore[return-value]


def _print_version(wanted: bool) -> None:
    if wanted:
        _out.print(cathoscope.__version__, highlight=False)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
@_friendly
def new(
    recipe: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.toml"),
    force: Annotated[bool, typer.Option(help="Overwrite the file if it is there.")] = False,
) -> None:
    """Write a commented recipe to start from."""
    from cathoscope.flow.starter import STARTER_RECIPE

    if recipe.exists() and not force:
        raise RecipeError("this file is there already", where=recipe, cure="choose another name, or add --force")
    try:
        recipe.write_text(STARTER_RECIPE, encoding="utf-8")
    except OSError as error:
        raise RecipeError("the recipe could not be written", where=recipe, found=str(error)) from error
    _out.print(f"wrote {recipe}; fill it in, then:  cathoscope check {recipe}", highlight=False, soft_wrap=True)


@app.command()
@_friendly
def simulate(
    preset: Annotated[
        str,
        typer.Argument(
            help="hou, rod, gravel, cadiou, L-NMC, H-NMC, cadiou-cycling, L-NMC-cycling, H-NMC-cycling, sections, "
            "cadiou-sections, hou-diffraction, rod-diffraction, gravel-diffraction (each also with -specimen), "
            "hou-lab, rod-lab, gravel-lab, hou-cells, rod-cells, gravel-cells, cadiou-cells, cadiou-cells-disturbed, "
            "L-NMC-cells, H-NMC-cells, spheres, spheres-asymmetric; or a TOML file that changes one of the first six "
            "or names several parts"
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the experiment into.")],
    size: Annotated[str, typer.Option(help="small, medium or large")] = "small",
    seed: Annotated[int, typer.Option(help="One seed makes one study, always the same.", min=0)] = 1,
    particles: Annotated[int, typer.Option(help="Particles of each sample.", min=1)] = 1,
    threads: ThreadsOption = _CORES,
    memory: MemoryOption = "2GB",
) -> None:
    """Make a virtual experiment: raw files as the beamline writes them, the truth, and a recipe.

    hou: rod- and gravel-grained particles heated from 25 to 250 C, XANES tomography; rod and gravel are its parts.
    cadiou: low- and high-gradient particles, nano-CT; L-NMC and H-NMC are its parts; cadiou-cycling: the same through
    45 cycles, FIB/SEM. sections: etched sections and a mosaic, SEM. hou-diffraction: powders heated in neutron and
    X-ray diffractometers; hou-diffraction-specimen: the same, peaks widened by the particles' own states. hou-lab: the
    powders in a balance, a calorimeter and in solution. hou-cells: coin cells at 25 and 40 C; cadiou-cells: single
    particles as cells, and with what may go wrong. spheres: the simplest truth.
    """
    from cathoscope.virtual.study import simulate_study

    resources = Resources(threads=threads, memory=parse(memory, "memory"))
    with TerminalProgress(_err) as progress:
        recipe = simulate_study(
            preset,
            size=size,
            seed=seed,
            folder=output,
            particles=particles,
            resources=resources,
            progress=progress,
        )
    _out.print(f"wrote {recipe.parent}; {_what_next(recipe)}", highlight=False, soft_wrap=True)


def _what_next(recipe: Path) -> str:
    """What to type, or that no technique analyses these files yet: then the recipe has no measurement."""
    if "measurement" in tomllib.loads(recipe.read_text(encoding="utf-8")):
        return f"analyse it with:  cathoscope run {recipe}"
    return "no technique analyses its files yet; the truth lies in its folder truth"


@app.command()
@_friendly
def check(recipe: RecipeArgument, data: DataOption = None) -> None:
    """Find every mistake of a recipe and of its files before an hour is spent. Computes nothing."""
    from cathoscope.flow.check import check_recipe
    from cathoscope.flow.recipe import load_recipe

    findings = check_recipe(load_recipe(recipe, data=data))
    table = Table("measurement", "technique", "scans", "images", "what to know", box=None)
    for finding in findings:
        table.add_row(
            finding.measurement,
            finding.technique,
            finding.scans,
            finding.images,
            "\n".join([*finding.problems, *finding.remarks]) or "ok",
        )
    _out.print(table)
    unusable = [finding.measurement for finding in findings if finding.unusable]
    if unusable:
        _err.print(f"cannot be used: {', '.join(unusable)}", style="bold red", markup=False)
        raise typer.Exit(3)
    _out.print(f"ready:  cathoscope run {recipe}", highlight=False, soft_wrap=True)


@app.command("run")
@_friendly
def run_command(
    recipe: RecipeArgument,
    study: StudyOption = None,
    data: DataOption = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads; the result does not depend on it. [default: all cores; with --cluster 1 per worker]", min=1
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Memory for the values worked on at a time, such as 4GB; with --cluster per worker. [default: 2GB]"
        ),
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Share the slabs out: local:N, slurm:FILE or tcp://HOST:PORT.", metavar="PLACE")
    ] = None,
    report: Annotated[bool, typer.Option(help="Write the report when done.")] = True,
) -> None:
    """Run a recipe from raw files to a report.

    Only what a change touches is computed again. A run that was stopped or killed goes on where it
    was and ends with the same result.
    """
    from cathoscope.flow.recipe import load_recipe
    from cathoscope.flow.run import run

    loaded = load_recipe(recipe, data=data)
    path = study or recipe.with_suffix(".zarr")
    with TerminalProgress(_err) as progress, _resources(cluster, threads, memory, progress) as resources:
        outcome = run(loaded, path, resources=resources, progress=progress)
    _print_outcome(outcome)
    if report:
        _write_report(path, path.with_suffix(".html"), memory)
    if outcome.failed:
        raise typer.Exit(3)


def _resources(
    cluster: str | None, threads: int | None, memory: str | None, progress: TerminalProgress
) -> AbstractContextManager[Resources]:
    """What a run may use, of this machine or of a cluster that is open for as long."""
    bytes_allowed = parse(memory, "memory") if memory else None
    if cluster is None:
        return nullcontext(Resources(threads=threads or _CORES, memory=bytes_allowed or 2e9))
    from cathoscope.flow.cluster import resources_of_cluster

    return resources_of_cluster(cluster, threads=threads, memory=bytes_allowed, progress=progress)


@app.command("compare")
@_friendly
def compare_command(
    study: StudyArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Compare the results of a virtual experiment with its truth."""
    from cathoscope.core.study import Study
    from cathoscope.flow.compare import compare

    rows = compare(Study.open(study))
    if as_json:
        records = [{key: _strict(value) for key, value in row.record().items()} for row in rows]
        _out.print_json(json.dumps(records, allow_nan=False))
        return
    _out.print("result minus truth; pull = error / sigma, which should be 0 ± 1", highlight=False)
    for measurement in dict.fromkeys(row.measurement for row in rows):
        _print_comparison(measurement, [row for row in rows if row.measurement == measurement])


def _strict(value: Any) -> Any:
    """JSON knows no NaN: what could not be computed is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print_comparison(measurement: str, rows: list[Comparison]) -> None:
    table = Table("array", "n", "bias", "rmse", "unit", "pull", box=None, title=measurement, title_justify="left")
    for row in rows:
        pull = "" if row.pull_mean is None else f"{row.pull_mean:+.2f}"
        pull += "" if row.pull_width is None else f" ± {row.pull_width:.2f}"
        bias = "0" if abs(row.bias) < 1e-12 else f"{row.bias:+.2g}"
        table.add_row(row.array, str(row.n), bias, f"{row.rmse:.2g}", row.unit, pull)
    for column in table.columns:
        column.no_wrap = True
    _out.print(table)
    for row in rows:
        if row.note:
            _out.print(f"{row.array}: {row.note}", highlight=False, soft_wrap=True)


@app.command("report")
@_friendly
def report_command(
    study: StudyArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file to write [default: STUDY with .html]")
    ] = None,
    memory: MemoryOption = "2GB",
) -> None:
    """Write the report: one HTML page, and its figures and numbers beside it."""
    _write_report(study, output or study.with_suffix(".html"), memory)


def _write_report(path: Path, output: Path, memory: str | None) -> None:
    from cathoscope.core.study import Study
    from cathoscope.flow.compare import compare
    from cathoscope.report.page import write_report

    study = Study.open(path)
    rows: list[Comparison] = compare(study) if study.measurements("truth") else []
    allowed = Resources(memory=parse(memory or "2GB", "memory")).memory
    files = write_report(study, output, comparison=[row.record() for row in rows], memory=allowed)
    _out.print(f"report:  {files.page}", highlight=False, soft_wrap=True)


@app.command("view")
@_friendly
def view_command(
    study: StudyArgument,
    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine a token is asked for.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.", min=0, max=65535)] = 8765,
    token: Annotated[bool, typer.Option("--token", help="Ask for a token on this machine too.")] = False,
    browser: Annotated[bool, typer.Option("--browser", help="Open the browser.")] = False,
) -> None:
    """Look at a study in the browser: slices, pictures in space, spectra, curves. Changes nothing."""
    import threading
    import webbrowser

    from cathoscope.core.study import Study
    from cathoscope.report.viewer.serve import view

    opened = Study.open(study)
    threading.Thread(target=_load_fit, daemon=True).start()

    def say(address: str) -> None:
        """Where to look."""
        _out.print(f"view:  {address}  (stop with Ctrl+C)", highlight=False, markup=False, soft_wrap=True)
        if browser:
            webbrowser.open(address)

    view(opened, host=host, port=port, with_token=token, fit=_fit_of_voxel, say=say)


def _load_fit() -> Callable[..., Any]:
    """What fits the spectrum of a voxel; the report, and so the viewer, knows no technique."""
    from cathoscope.xanes.voxel_fit import fitted_curve

    return fitted_curve


def _fit_of_voxel(energy: Any, spectrum: Any, noise_std: Any, line: float) -> Any:
    return _load_fit()(energy, spectrum, noise_std, line)


@app.command("export")
@_friendly
def export_command(
    study: StudyArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write into; STUDY-FORM if none is given.", metavar="FOLDER"),
    ] = None,
    measurement: Annotated[list[str] | None, typer.Option(help="Only this measurement; may be repeated.")] = None,
    array: Annotated[list[str] | None, typer.Option(help="Only this array; may be repeated.")] = None,
    form: Annotated[str, typer.Option("--as", help="ome-zarr, tiff, hdf5, txm-sandbox, cif, csv or bdf")] = "ome-zarr",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    memory: MemoryOption = "2GB",
) -> None:
    """Write volumes and refinements of a study as files that other programs open.

    ome-zarr: napari, Fiji, web viewers; tiff: Fiji, Dragonfly; hdf5: Python, MATLAB, NeXus; txm-sandbox: its own
    layout; cif, csv: structures, numbers and patterns of powder diffraction; bdf: the Battery Data Format, of a
    cycler's file in place of the study.
    Without --array: white-line energy and its uncertainty, edge jump, particle mask, attenuation.
    """
    from cathoscope.core.study import Study
    from cathoscope.io import export_records
    from cathoscope.io.export_study import Choice, export_study

    folder = output or study.with_name(f"{study.stem}-{form}")
    if form == export_records.FORM:
        for path in export_records.export_record(study, folder, overwrite=overwrite):
            _out.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)
        return
    choice = Choice(form, tuple(measurement or ()), tuple(array or ()))
    resources = Resources(memory=parse(memory, "memory"))
    with TerminalProgress(_err) as progress:
        written = export_study(
            Study.open(study), folder, choice, overwrite=overwrite, resources=resources, progress=progress
        )
    for path in written:
        _out.print(f"wrote {path}", highlight=False, markup=False, soft_wrap=True)


@app.command("formats")
@_friendly
def formats_command() -> None:
    """List the file formats that can be read."""
    from cathoscope.io.registry import READERS

    table = Table("reader", "format and the arrays it gives", "usual endings", box=None)
    for reader in READERS:
        title = reader.title + (", one file or a sequence" if reader.sequence else "")
        table.add_row(reader.name, title, " ".join(reader.suffixes))
        table.add_row("", f"[dim]{', '.join(reader.gives)}[/dim]")
    table.columns[0].no_wrap = True
    _out.print(table)
    _out.print("A format is recognised by the content of a file, never by its ending.", highlight=False)
    _out.print("JSON and unusual columns need  columns = { ... }  in the recipe.", highlight=False, markup=False)


@app.command("inspect")
@_friendly
def inspect_command(
    files: Annotated[list[Path], typer.Argument(help="Files of any kind.", metavar="FILE...")],
    reader: Annotated[
        str | None, typer.Option(help="Reader to use instead of recognising; see: cathoscope formats")
    ] = None,
) -> None:
    """Say what files hold, without loading them; or why they cannot be used."""
    from cathoscope.io.inspect import describe

    refused = []
    for file in files:
        description = describe(file, reader)
        _out.print("\n".join(description.lines()) + "\n", highlight=False, markup=False, soft_wrap=True)
        if description.refused is not None:
            refused.append(file.name)
    if refused:
        _err.print(f"cannot be used: {', '.join(refused)}", style="bold red", markup=False, soft_wrap=True)
        raise typer.Exit(MeasurementError.exit_code)


@app.command("doctor")
@_friendly
def doctor_command(
    folder: Annotated[Path, typer.Argument(help="Where studies are going to be kept.")] = Path("."),
    experiment: Annotated[bool, typer.Option(help="Make and analyse a tiny virtual experiment, some 20 s.")] = True,
    threads: ThreadsOption = _CORES,
) -> None:
    """Say whether this machine is fit: versions, threads, memory, disk, data, and a test with known answers."""
    from cathoscope import doctor

    if not folder.is_dir():
        raise StudyError("this is not a folder", where=folder, cure="name one that is there")
    failed = 0
    with TerminalProgress(_err) as progress:
        findings = list(doctor.examine(folder))
        if experiment:
            resources = Resources(threads=threads)
            findings += doctor.experiment(folder, resources=resources, progress=progress)
    for finding in findings:
        colour = {"ok": "green", "attention": "yellow", "failed": "bold red"}[finding.state]
        _out.print(f"[{colour}]{finding.state:9}[/] {finding.what:10} ", end="", highlight=False)
        _out.print(finding.words, highlight=False, markup=False, soft_wrap=True)
        if finding.cure:
            _out.print(f"{'':21}{finding.cure}", highlight=False, markup=False, soft_wrap=True)
        failed += finding.state == "failed"
    if failed:
        raise typer.Exit(StudyError.exit_code)


def _print_outcome(outcome: RunOutcome) -> None:
    for item in outcome.measurements:
        done = f"{len(item.computed)} steps computed, {len(item.cached)} kept"
        _out.print(f"{item.name}: {'FAILED' if item.failure else done}", highlight=False, markup=False)
        for file, reason in item.set_aside:
            _out.print(f"  set aside {file}: {reason}", highlight=False, markup=False, soft_wrap=True)
        for text in item.missing:
            _out.print(f"  {text}", highlight=False, markup=False)
    for relation in outcome.relations:
        if relation.failure:
            _out.print(f"{relation.name}: FAILED", highlight=False, markup=False)
    _out.print(f"study:   {outcome.study}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point of the ``cathoscope`` command."""
    # A stopped pipe (| head) is not an error worth a traceback.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    app()

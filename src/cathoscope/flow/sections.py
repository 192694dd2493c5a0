"""What a recipe may say: its tables and keys, with their units, limits and defaults."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, model_validator

from cathoscope.flow.cell_sections import (
    CyclingSection,
    ImpedanceSection,
    ParticleCellSection,
    require_own_cell_tables,
    with_compositions,
)
from cathoscope.flow.diffraction_sections import (
    POWDER_KEYS,
    BankSection,
    Calibration,
    DiffractionSection,
    Instruments,
    Peaks,
    PowderPhases,
    require_powder,
)
from cathoscope.flow.lab_sections import (
    CalorimetrySection,
    ElementsSection,
    MassLossSection,
    UvVisSection,
    require_own_tables,
)
from cathoscope.flow.relate_sections import RelateSection
from cathoscope.flow.section import Files, Section, Temperature, ascending, quantity
from cathoscope.flow.state_sections import Energy, StateSection

Length = Annotated[float, quantity("length"), Field(gt=0)]
_Position = Annotated[float, quantity("length")]


EnergyWindow = Annotated[tuple[Energy, Energy], AfterValidator(ascending)]
Rows = Annotated[tuple[NonNegativeInt, NonNegativeInt], AfterValidator(ascending)]


class StudySection(Section):
    """What the study is called and where its data are (relative to the recipe)."""

    title: str = ""
    data: str = "."


class SampleSection(Section):
    """One material; see `cathoscope.core.sample.Sample`."""

    composition: str = ""
    phases: tuple[str, ...] = ()
    particle: str = ""
    treatment: str = ""


class SeriesEntry(Section):
    """The files measured at one temperature."""

    files: Files
    temperature: Temperature | None = None
    foil: str | None = Field(default=None, description="file of a foil's spectrum measured beside: the energy scale")


class PhaseSection(Section):
    """Retrieval of the phase of a sample of one material, from one distance; off unless a distance is given."""

    delta_over_beta: float | None = Field(default=None, gt=0, description="of the sample's refractive index")
    distance: Length | None = Field(default=None, description="sample to detector, over the magnification of a cone")
    energy: Energy | None = Field(default=None, gt=0, description="of the photons, for files that do not say it")
    discrete: bool = Field(default=False, description="differences of pixels in place of derivatives: sharper")

    @model_validator(mode="after")
    def _whole(self) -> PhaseSection:
        if (self.distance is None) != (self.delta_over_beta is None):
            raise ValueError('distance and delta_over_beta belong together, such as distance = "10 mm"')
        if self.distance is None and self.model_fields_set:
            raise ValueError('phase retrieval needs delta_over_beta and distance, such as distance = "10 mm"')
        return self


class TomographySection(Section):
    """How projections become volumes."""

    stripes: Literal["none", "gain", "sorting", "all"] = "gain"
    flats: Literal["shared", "own"] = Field(default="shared", description="by the energies of a temperature")
    zinger_sigma: float = Field(default=8.0, ge=0, description="0 leaves zingers alone")
    normalise_beam: bool = True
    jitter: Literal["auto", "none", "centre of mass"] = "auto"
    survey_rows: int = Field(default=64, ge=8)
    series: bool = Field(default=True, description="solve the geometry of all energies of a temperature together")
    magnification: Literal["files", "estimated", "constant"] = "files"
    angle_offset: bool = Field(default=False, description="find turns of the sample between energies")
    reconstruct: Literal["coefficients", "energies"] = "coefficients"
    coefficients: int | None = Field(default=None, ge=4, description="their number; by the noise if not given")
    method: Literal["fbp", "cgls", "tv"] = Field(
        default="fbp", description="filtered back-projection, conjugate gradients, or total variation"
    )
    tv_strength: float | None = Field(default=None, ge=0, le=100, description="in units of the noise; 0.7 if not given")
    iterations: int | None = Field(default=None, ge=1, description="of cgls (20 at most) or tv (30)")
    non_negative: bool = Field(default=False, description="no attenuation below zero; of tv on every energy")
    phase: PhaseSection = PhaseSection()

    @model_validator(mode="after")
    def _of_the_method(self) -> TomographySection:
        if self.method != "tv" and (self.tv_strength is not None or self.non_negative):
            raise ValueError(f'tv_strength and non_negative belong to method = "tv", not "{self.method}"')
        if self.method == "fbp" and self.iterations is not None:
            raise ValueError('iterations belong to method = "cgls" or "tv"')
        return self


class EdgeSection(Section):
    """Windows below and above the absorption edge, and the mask of voxels that show the edge."""

    edge_energy: Energy | None = None
    pre_edge: EnergyWindow | None = None
    post_edge: EnergyWindow | None = None
    threshold: float | None = Field(default=None, description="edge jump in 1/um; Otsu's threshold if not given")
    minimum_sigma: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> EdgeSection:
        if self.pre_edge and self.post_edge and self.pre_edge[1] >= self.post_edge[0]:
            raise ValueError("pre_edge must end below the energy at which post_edge begins")
        return self


class WhiteLineSection(Section):
    """How the white line of a voxel is found."""

    method: Literal[
        "auto",
        "compressed model",
        "model",
        "polynomial",
        "polynomial around maximum",
        "trigonometric",
        "half height",
        "centroid",
    ] = "auto"
    order: int = Field(default=4, ge=2, le=4, description="of the polynomial")
    audit: bool = Field(default=True, description="simulate every method on spectra like the measured ones")
    self_calibration: bool = Field(default=True, description="of the compressed model, on the shapes of the data")
    window: EnergyWindow | None = None
    edge_width: Energy = 2.0


class RegistrationSection(Section):
    """How the volumes of different temperatures are laid over each other."""

    model: Literal["auto", "rigid", "similarity", "deformation"] = "auto"


class GrainsSection(Section):
    """Grains that another experiment has mapped; see `cathoscope.io.grain_axes`."""

    labels: str = Field(description="TIFF: number of the grain at each voxel of the first temperature's volume")
    axes: str = Field(description="table: grain,x,y,z, the direction of c of each grain")


class MixtureSection(Section):
    """Component spectra and what lies under them."""

    references: dict[str, str] = Field(default_factory=dict)
    background: Literal["none", "constant", "linear"] = "constant"
    non_negative: bool = True


class ColumnsSection(Section):
    """Which columns of a table, or keys of a JSON file, hold what; see `cathoscope.io.spectra.ColumnMap`."""

    energy: str | None = None
    energy_unit: Literal["eV", "keV"] | None = None
    even_energy: tuple[Energy, Energy, int] | None = None
    absorption: str | None = None
    i0: str | None = None
    transmitted: str | None = None
    fluorescence: str | None = None
    reference: str | None = None
    labels: tuple[str, ...] | None = None


class XasSection(Section):
    """Bulk spectra: calibration, normalisation, edges and valence. Windows are in eV from the edge."""

    element: str | None = None
    calibration: Literal["auto", "reference", "self", "none"] = "auto"
    foil: str | None = Field(default=None, description="file of a foil measured apart")
    pre_edge: tuple[float, float] = (-150.0, -30.0)
    post_edge: tuple[float, float] = (50.0, 300.0)
    edge: Literal["integral", "half height", "derivative"] = "integral"
    valence: dict[str, float] = Field(default_factory=dict, description="of the standards, by name of the spectrum")
    merge_repeats: bool = False
    group_by: tuple[str, ...] = Field(default=(), description="labels that spectra of a group share")
    against: dict[str, str] = Field(default_factory=dict, description="labels of the reference of a group")

    @model_validator(mode="after")
    def _grouped(self) -> XasSection:
        if not set(self.against) <= set(self.group_by):
            raise ValueError("against may only name labels of group_by")
        return self

    @model_validator(mode="after")
    def _one_calibration(self) -> XasSection:
        if self.foil is not None and self.calibration in ("self", "none"):
            raise ValueError(f'a foil measured apart contradicts calibration = "{self.calibration}"; leave one out')
        return self


class RegionsSection(Section):
    """Regions of a volume whose mean spectra are treated as bulk spectra: shells by depth below the surface."""

    shells: int = Field(default=1, ge=1, le=255)


class CombinationSection(Section):
    """Linear combination of spectra of a library."""

    library: str | None = None
    components: tuple[str, ...] = ()
    of: Literal["normalised", "absorption"] = "normalised"
    window: EnergyWindow | None = None
    non_negative: bool = True
    sum_to_one: bool = False
    max_energy_shift: Energy = 0.0

    @model_validator(mode="after")
    def _whole(self) -> CombinationSection:
        if (self.library is None) != (not self.components):
            raise ValueError("library and components belong together")
        return self


class ImagingSection(Section):
    """Frames of a full-field microscope at several energies."""

    magnification: Literal["constant", "proportional to energy"] = "constant"
    align: bool = True
    background: Literal["none", "constant", "surface"] = "surface"
    smallest_particle: Length = 1.0


def _profile(value: Any) -> Any:
    """Pairs of a relative radius and a grey level, the word for none known, or nothing."""
    if value is None or value == "unknown":
        return value
    pairs = value if isinstance(value, list | tuple) else []
    alright = [
        len(pair) == 2 and all(isinstance(one, int | float) for one in pair) and 0 <= pair[0] <= 1 and 0 < pair[1] < inf
        for pair in pairs
        if isinstance(pair, list | tuple)
    ]
    if not alright or len(alright) < len(pairs) or not all(alright):
        raise ValueError('pairs of a radius from 0 to 1 and a positive grey level, [[0, 1.04]], or "unknown"')
    return value


_Composition = Annotated[tuple[tuple[float, float], ...] | Literal["unknown"] | None, BeforeValidator(_profile)]


class MorphologySection(Section):
    """Pores, cracks and surfaces of the particle in a volume; the table asks for them."""

    closing_radius: Length | None = Field(default=None, description="2 to 4 times the widest crack at the surface")
    crack_width: Length | None = Field(default=None, description="wider pores are voids; 4 voxels if not given")
    magnification_std: float = Field(
        default=0.003, ge=0, lt=0.5, description="relative, between temperatures; thrice it goes into volume changes"
    )
    all_particles: bool = Field(
        default=False, description="of a field of several: told apart and tabled; the rest is of the largest"
    )
    composition: _Composition = Field(
        default=None, description="relative radii and grey levels of crack-free solid, as known from elsewhere"
    )


class SlicesSection(Section):
    """Slices of a FIB/SEM, a stack or one after every cycle: what the files do not say, and what is asked."""

    thickness: Length | None = Field(
        default=None, description="of the slices of a stack; as the files say if not given"
    )
    cycles: tuple[float, ...] | None = Field(default=None, description="of the files in order, if they do not say it")
    closing_radius: Length | None = Field(default=None, description="of the outline; 4 % of the diameter if not given")
    cut_height: _Position = Field(default=0.0, description="of the first cut beyond the middle of the particle")
    region: tuple[_Position, _Position, _Position, _Position] | None = Field(
        default=None, description="top, bottom, left, right of a box of interest, from the centre of the section"
    )
    at_cycle: float | None = Field(default=None, ge=0, description="porosity at this cycle; the last if not given")
    porosity: float | None = Field(default=None, gt=0, lt=1, description="cycle at which this porosity is reached")

    @model_validator(mode="after")
    def _of_cycles(self) -> SlicesSection:
        if self.cycles is not None and len(set(self.cycles)) != len(self.cycles):
            raise ValueError("a cycle is given twice; every slice is that of another cycle")
        if self.region is not None and not (self.region[0] < self.region[1] and self.region[2] < self.region[3]):
            raise ValueError('the region is top < bottom, left < right, such as ["-1 um", "1 um", "-1 um", "1 um"]')
        return self


class MicrographSection(Section):
    """Sections in a scanning electron microscope: grains of an etched particle, or a mosaic of many particles."""

    scale_bar: Length | None = Field(default=None, description="length of the bar, where its text cannot be read")
    groove_width: Length | None = Field(default=None, description="standard deviation of an etched groove across")
    smallest_particle: Length = 1.0
    crack_width: Length | None = Field(default=None, description="widest crack at the surface of a particle")
    void: float | None = Field(default=None, description="grey level of emptiness; from wide pores if not given")
    stage_error: Length | None = Field(default=None, description="standard uncertainty of the stage; 0.5 um")
    columns: int | None = Field(default=None, ge=1, description="tiles in a row, where files do not say their place")
    overlap: float = Field(default=0.1, gt=0, lt=1, description="of neighbouring tiles, with columns")


class MeasurementSection(Section):
    """One file set of one technique on one sample under one series of conditions."""

    sample: str
    particle: int | None = Field(default=None, ge=1, description="its number, where several of a sample are measured")
    technique: Literal[
        "tomography",
        "xanes-tomography",
        "xanes-regions",
        "spectromicroscopy",
        "xas",
        "xanes-imaging",
        "fibsem-series",
        "fibsem-stack",
        "sem-section",
        "mosaic",
        "diffraction",
        "mass-loss",
        "calorimetry",
        "uv-vis",
        "elements",
        "cycling",
        "particle-cell",
        "impedance",
    ]
    files: Files | None = None
    series: tuple[SeriesEntry, ...] = ()
    reader: str | None = None
    content: Literal["counts", "optical depth"] = "counts"
    angle_range: tuple[float, float] | None = None
    pixel_size: Length | None = None
    rows: Rows | None = None
    note: str = ""
    start: dict[str, str] = Field(default_factory=dict)
    fix: dict[str, float | list[float]] = Field(default_factory=dict)
    tomography: TomographySection = TomographySection()
    edge: EdgeSection = EdgeSection()
    white_line: WhiteLineSection = WhiteLineSection()
    state: StateSection = StateSection()
    registration: RegistrationSection = RegistrationSection()
    grains: GrainsSection | None = None
    mixture: MixtureSection = MixtureSection()
    columns: ColumnsSection = ColumnsSection()
    xas: XasSection = XasSection()
    regions: RegionsSection = RegionsSection()
    combination: CombinationSection = CombinationSection()
    imaging: ImagingSection = ImagingSection()
    morphology: MorphologySection | None = None
    slices: SlicesSection | None = None
    micrograph: MicrographSection | None = None
    instrument: Instruments = ()
    phases: PowderPhases = Field(default_factory=dict)
    banks: tuple[BankSection, ...] = ()
    diffraction: DiffractionSection = DiffractionSection()
    peaks: Peaks = None
    calibration: Calibration = None
    mass_loss: MassLossSection = MassLossSection()
    calorimetry: CalorimetrySection = CalorimetrySection()
    uv_vis: UvVisSection = UvVisSection()
    elements: ElementsSection = ElementsSection()
    cycling: CyclingSection = CyclingSection()
    particle_cell: ParticleCellSection | None = None
    impedance: ImpedanceSection = ImpedanceSection()

    @model_validator(mode="after")
    def _one_source(self) -> MeasurementSection:
        sources = sum((self.files is not None, bool(self.series), bool(self.start)))
        if sources != 1 and (sources or self.technique != "particle-cell"):  # which may be planned only
            raise ValueError("give exactly one of files, series or start")
        temperatures = [entry.temperature for entry in self.series]
        if None in temperatures and len(temperatures) > 1:
            raise ValueError("every entry of a series needs its temperature")
        if len(set(temperatures)) != len(temperatures):
            raise ValueError("a temperature is given twice in the series")
        return self

    @model_validator(mode="after")
    def _of_powders(self) -> MeasurementSection:
        if self.technique == "diffraction":
            require_powder(self.instrument, self.phases, self.banks)
        elif stated := self.model_fields_set & set(POWDER_KEYS):
            raise ValueError(f'{" and ".join(sorted(stated))} belong to technique = "diffraction"')
        return self

    @model_validator(mode="after")
    def _of_a_particle(self) -> MeasurementSection:
        if self.grains is not None and self.technique != "xanes-tomography":
            raise ValueError('grains belongs to technique = "xanes-tomography"')
        several = self.morphology is not None and self.morphology.all_particles
        if several and self.technique not in ("tomography", "fibsem-stack"):
            raise ValueError('morphology.all_particles is for technique = "tomography" or "fibsem-stack"')
        return self

    @model_validator(mode="after")
    def _of_the_lab(self) -> MeasurementSection:
        require_own_tables(self.technique, self.model_fields_set)
        require_own_cell_tables(self.technique, self.model_fields_set)
        return self

    @model_validator(mode="after")
    def _of_either_sign(self) -> MeasurementSection:
        of_coefficients = self.technique == "xanes-tomography" and self.tomography.reconstruct == "coefficients"
        if of_coefficients and self.tomography.non_negative and not self.start:
            raise ValueError(
                "spectral coefficients have either sign, so their volumes cannot be kept from being negative: "
                'leave out tomography.non_negative, or set tomography.reconstruct = "energies"'
            )
        return self


class RecipeModel(Section):
    """The whole recipe."""

    study: StudySection = StudySection()
    sample: dict[str, SampleSection] = Field(default_factory=dict)
    measurement: dict[str, MeasurementSection] = Field(min_length=1)
    relate: RelateSection = RelateSection()

    @model_validator(mode="before")
    @classmethod
    def _compositions(cls, values: Any) -> Any:
        return with_compositions(values)

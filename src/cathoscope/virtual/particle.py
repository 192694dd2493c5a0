"""What a secondary particle is to be: its size, grains, cracks, pores and composition; scatter of axes; surface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf, pi
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import dawsn

from cathoscope.core.errors import CathoscopeError

METALS = ("Ni", "Mn", "Co")
LARGEST_CRACK = 3.0  # standard deviations of the logarithm at which the openings are cut
_SHELL_STEP = 0.1  # width of the smooth step from core to shell composition, of the radius
_WAVES = 20  # short waves of a rough surface
_QUADRATURE = 64  # nodes along the polar angle: exact for the cube of waves of at most 20 per radian

# Least and largest value of every number of a design.
_RANGES = {
    "diameter": (0.1, 1000.0),
    "core_radius": (0.0, inf),
    "roughness": (0.0, 0.05),
    "asphericity": (0.0, 0.1),
    "grain_size": (1e-3, inf),
    "grain_spread": (0.0, 1.0),
    "aspect": (1.0, 100.0),
    "isotropic_radius": (0.0, inf),
    "alignment": (0.0, 1.0),
    "crack_share": (0.0, 1.0),
    "crack_share_surface": (0.0, 1.0),
    "crack_opening": (0.0, inf),
    "crack_spread": (0.0, 1.0),
    "porosity": (0.0, 0.5),
    "pore_radius": (0.0, inf),
    "shell_start": (0.0, 1.0),
}
_WORDS = {"arrangement": ("rod", "gravel"), "pore_shape": ("none", "bulky", "spider-web")}


@dataclass(frozen=True)
class ParticleDesign:
    """A polycrystalline secondary particle; lengths are um.

    Attributes
    ----------
    arrangement
        "rod": grains elongated along the radius; "gravel": equiaxed grains.
    diameter
        Of the sphere that has the volume of the envelope.
    core_radius
        Radius of the sphere that has the volume of the hollow core; 0: no hollow core.
    roughness, asphericity
        Relative standard deviation of the radius of the surface: short waves, and its long-wave (l = 2) shape.
    grain_size
        Gravel: cube root of the mean volume of the grains; rod: their width at 0.7 of the particle's radius.
    grain_spread
        Standard deviation of the logarithm of the Laguerre radii; 0: a Voronoi tessellation.
    aspect
        Length over width of the rods; 1 for gravel.
    isotropic_radius
        Of rods without a hollow core: well within this distance of the centre grains are equiaxed; 0: needles.
    alignment
        Order parameter P2 = <3 cos^2 - 1>/2 of the in-plane axis [110] against the radius; 0 random, 1 perfect.
    crack_share, crack_share_surface
        Share of the grain boundaries that are open at the core and at the surface, linear along the radius.
    crack_opening, crack_spread
        Median opening of a crack, and the standard deviation of its logarithm.
    porosity
        Share of the envelope's volume that is pore, besides hollow core and cracks.
    pore_shape
        "none"; "bulky": a few round holes; "spider-web": sheets along all grain boundaries.
    pore_radius
        Pores lie within this distance of the centre and get rarer outward.
    core_composition, shell_composition
        Shares of Ni, Mn and Co, normalised to a sum of 1.
    shell_start
        Radius, relative to the surface, of the middle of the smooth step from core to shell composition.

    Raises
    ------
    CathoscopeError
        If a value is impossible.
    """

    arrangement: str
    diameter: float = 9.0
    core_radius: float = 0.0
    roughness: float = 0.01
    asphericity: float = 0.02
    grain_size: float = 0.5
    grain_spread: float = 0.0
    aspect: float = 1.0
    alignment: float = 0.0
    crack_share: float = 0.0
    crack_share_surface: float = 0.0
    crack_opening: float = 0.04
    crack_spread: float = 0.4
    porosity: float = 0.0
    pore_shape: str = "none"
    pore_radius: float = 0.0
    core_composition: Mapping[str, float] = field(default_factory=lambda: {"Ni": 0.8, "Mn": 0.1, "Co": 0.1})
    shell_composition: Mapping[str, float] | None = None
    shell_start: float = 1.0
    isotropic_radius: float = 0.0

    def __post_init__(self) -> None:
        _require_words_and_ranges(self)
        _require_sizes_that_fit(self)
        _require_pores_that_fit(self)
        core = _normalised("core_composition", self.core_composition)
        shell = self.shell_composition
        object.__setattr__(self, "core_composition", core)
        object.__setattr__(
            self, "shell_composition", core if shell is None else _normalised("shell_composition", shell)
        )

    @property
    def radius(self) -> float:
        """Radius of the sphere that has the volume of the envelope, um."""
        return self.diameter / 2

    @property
    def envelope_volume(self) -> float:
        """Volume inside the outer surface, um³."""
        return pi / 6 * self.diameter**3

    def composition(self, relative_radius: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Shares of Ni, Mn and Co at radii relative to the surface: core + (shell - core) (1 + tanh(2 u)) / 2.

        u = (relative_radius - shell_start) / (0.1 / 2). Each share has the shape of ``relative_radius``.
        """
        u = (np.asarray(relative_radius, dtype=np.float64) - self.shell_start) / (_SHELL_STEP / 2)
        # a design without a shell has no step at its surface either, since both compositions are then the same
        shell_share = (1 + np.tanh(2 * u)) / 2
        core = self.core_composition
        shell = self.shell_composition or core
        return {metal: core[metal] + (shell[metal] - core[metal]) * shell_share for metal in METALS}


def _require_words_and_ranges(design: ParticleDesign) -> None:
    """Refuse unknown words and numbers outside their range."""
    for name, words in _WORDS.items():
        if getattr(design, name) not in words:
            raise CathoscopeError(
                f"the particle's {name} is unknown",
                expected=" or ".join(f'"{word}"' for word in words),
                found=repr(getattr(design, name)),
                cure=f'{name}="{words[-1]}"',
            )
    defaults = {entry.name: entry.default for entry in fields(design)}
    for name, (least, largest) in _RANGES.items():
        value = getattr(design, name)
        if not least <= value <= largest or value == inf:
            raise CathoscopeError(
                f"the particle's {name} is out of range",
                expected=f"{least:g} or more" if largest == inf else f"{least:g} to {largest:g}",
                found=str(value),
                cure=f"{name}={defaults[name]}",
            )


def _require_sizes_that_fit(design: ParticleDesign) -> None:
    """Refuse a core, grains or cracks too large for the particle."""
    cracked = max(design.crack_share, design.crack_share_surface) > 0
    limits = {
        "core_radius": (0.8 * design.radius, "0.8 of the particle's radius"),
        "grain_size": ((design.radius - design.core_radius), "the thickness between hollow core and surface"),
        "isotropic_radius": (design.radius, "the particle's radius"),
        # openings of boundaries that are all closed do not matter
        "crack_opening": (0.2 * design.grain_size if cracked else inf, "a fifth of the grain size"),
    }
    for name, (largest, words) in limits.items():
        if getattr(design, name) > largest:
            raise CathoscopeError(
                f"the particle's {name} is too large",
                expected=f"at most {words}: {largest:.3g} um",
                found=f"{getattr(design, name):g} um",
                cure=f"{name}={0.8 * largest:.2g}, or a larger particle",
            )
    if design.arrangement == "gravel" and (design.aspect != 1 or design.isotropic_radius != 0):
        raise CathoscopeError(
            "gravel grains are equiaxed",
            expected="aspect 1 and isotropic_radius 0",
            found=f"aspect {design.aspect:g} and isotropic_radius {design.isotropic_radius:g}",
            cure='aspect=1 with isotropic_radius=0, or arrangement="rod"',
        )


def _require_pores_that_fit(design: ParticleDesign) -> None:
    """Refuse porosity without a shape or a place."""
    if (design.porosity > 0) != (design.pore_shape != "none"):
        raise CathoscopeError(
            "porosity and pore_shape contradict each other",
            expected='porosity=0 with pore_shape="none", or a positive porosity with another shape',
            found=f"porosity {design.porosity}, pore_shape {design.pore_shape!r}",
            cure='pore_shape="bulky"' if design.porosity > 0 else 'pore_shape="none"',
        )
    if design.porosity == 0:
        return
    if not design.core_radius < design.pore_radius <= 0.9 * design.radius:
        raise CathoscopeError(
            "the pores do not fit between the hollow core and the surface",
            expected=f"a pore_radius above {design.core_radius:g} and up to {0.9 * design.radius:.3g} um",
            found=f"{design.pore_radius:g} um",
            cure=f"pore_radius={0.5 * (design.core_radius + 0.9 * design.radius):.2g}",
        )
    room = (design.pore_radius**3 - design.core_radius**3) / design.radius**3
    if design.porosity > 0.4 * room:
        raise CathoscopeError(
            "there is no room for this porosity within pore_radius",
            expected=f"at most {0.4 * room:.3f}, two fifths of the volume within pore_radius",
            found=f"porosity {design.porosity}",
            cure=f"porosity={0.3 * room:.2g}, or a larger pore_radius",
        )


def _normalised(name: str, composition: Mapping[str, float]) -> dict[str, float]:
    """Shares of Ni, Mn and Co that sum to 1."""
    total = sum(composition.values())
    if not set(composition) <= set(METALS) or not min(composition.values(), default=-1) >= 0 or not 0 < total < inf:
        raise CathoscopeError(
            f"the particle's {name} is not a share of each metal",
            expected="shares of Ni, Mn and Co, none negative",
            found=str(dict(composition)),
            cure=f'{name}={{"Ni": 0.8, "Mn": 0.1, "Co": 0.1}}',
        )
    return {metal: float(composition.get(metal, 0.0)) / total for metal in METALS}


ROD = ParticleDesign(
    "rod",
    core_radius=2.0,
    aspect=6.0,
    alignment=0.97,
    crack_share=0.2,
    crack_share_surface=0.06,
    crack_opening=0.06,
    core_composition={"Ni": 0.82, "Mn": 0.06, "Co": 0.12},
)
"""Hou's rod-NMC after the first charge: radial rods around a hollow core, a few boundaries open."""

GRAVEL = ParticleDesign("gravel", core_radius=2.0, crack_share=0.2, crack_share_surface=0.06, crack_opening=0.06)
"""Hou's gravel-NMC after the first charge: as `ROD`, but equiaxed grains of random orientation."""

# The shells begin where core and shell, weighted by volume, give the mean Ni that Cadiou states:
# L 0.8 + (0.46 - 0.8) s = 0.68, H 0.86 + (0.70 - 0.86) s = 0.75, shell_start = (1 - s)^(1/3).
# With these, Mn and Co also come out as stated, but for Co of L: 0.146, where the paper's 0.18 makes a sum of 1.04.
L_NMC = ParticleDesign(
    "rod",
    diameter=8.5,
    aspect=2.5,
    alignment=0.5,
    porosity=0.03,
    pore_shape="bulky",
    pore_radius=2.6,
    core_composition={"Ni": 0.80, "Mn": 0.10, "Co": 0.10},
    shell_composition={"Ni": 0.46, "Mn": 0.31, "Co": 0.23},
    shell_start=0.865,
    isotropic_radius=1.6,
)
"""Cadiou's low-gradient particle: bulky pores near the centre, not cycled. Porosity and grains are ours."""

H_NMC = ParticleDesign(
    "rod",
    diameter=8.5,
    aspect=2.5,
    alignment=0.5,
    porosity=0.03,
    pore_shape="spider-web",
    pore_radius=3.2,
    core_composition={"Ni": 0.86, "Mn": 0.04, "Co": 0.10},
    shell_composition={"Ni": 0.70, "Mn": 0.20, "Co": 0.10},
    shell_start=0.678,
    isotropic_radius=1.6,
)
"""Cadiou's high-gradient particle: as `L_NMC`, but its pores are a web of sheets between grains."""


def widest_crack(design: ParticleDesign) -> float:
    """Largest opening (um) of a crack: openings are cut three standard deviations from the median."""
    share = max(design.crack_share, design.crack_share_surface)
    return design.crack_opening * float(np.exp(LARGEST_CRACK * design.crack_spread)) if share > 0 else 0.0


def watson_concentration(alignment: float) -> float:
    """kappa of the Watson density exp(kappa t^2), t = cos(angle to the mean axis), whose P2 is ``alignment``.

    <t^2> = 1 / (2 s F(s)) - 1 / (2 s^2) with s = sqrt(kappa) and Dawson's integral F; valid between 0 and 1.
    """

    def excess(log_s: float) -> float:
        """Order parameter of a Watson distribution less the wanted one."""
        s = np.exp(log_s)
        return float(1.5 * (1 / (2 * s * dawsn(s)) - 1 / (2 * s * s)) - 0.5 - alignment)

    # below, t^2 loses its digits and P2 = 2 kappa / 15 is exact enough
    return alignment * 7.5 if alignment < 1e-4 else float(np.exp(2 * brentq(excess, np.log(1e-2), np.log(1e6))))


def watson_cosines(count: int, alignment: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Cosines (count,) between axes and their mean axis, by inversion of exp(kappa (t^2 - 1)) F(s t) / F(s)."""
    share = rng.uniform(size=count)
    if alignment >= 1 - 1e-9:
        return np.ones(count)
    s = np.sqrt(watson_concentration(alignment))
    if s < 1e-6:
        return share
    low, high = np.zeros(count), np.ones(count)
    for _ in range(60):
        t = (low + high) / 2
        below = np.exp(s * s * (t * t - 1)) * dawsn(s * t) < share * dawsn(s)
        low, high = np.where(below, t, low), np.where(below, high, t)
    return (low + high) / 2


class Surface(NamedTuple):
    """A closed rough surface r(n) = mean_radius (offset + n Q n + sum a cos(k n + phase)); kernels take it as it is.

    ``quadrupole`` is Q, (3, 3); a row of ``waves`` is (kx, ky, kz, phase, a). Radii lie between ``lowest`` and
    ``highest``, um. The volume inside is that of a sphere of ``mean_radius``.
    """

    mean_radius: float
    offset: float
    quadrupole: NDArray[np.float64]
    waves: NDArray[np.float64]
    lowest: float
    highest: float


@njit(cache=True, nogil=True)
def surface_radius(surface, nx, ny, nz):  # type: ignore[no-untyped-def]
    """Radius (um) of a `Surface` in the direction of the unit vector (nx, ny, nz)."""
    q = surface.quadrupole
    value = surface.offset + q[0, 0] * nx * nx + q[1, 1] * ny * ny + q[2, 2] * nz * nz
    value += 2.0 * (q[0, 1] * nx * ny + q[0, 2] * nx * nz + q[1, 2] * ny * nz)
    for wave in surface.waves:
        value += wave[4] * np.cos(wave[0] * nx + wave[1] * ny + wave[2] * nz + wave[3])
    return surface.mean_radius * value


@njit(cache=True, nogil=True)
def _surface_radii(radii, surface, directions):  # type: ignore[no-untyped-def]
    """Fill ``radii`` (n,) for ``directions`` (n, 3) of any length."""
    for i in range(radii.size):
        x, y, z = directions[i]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0.0:
            radii[i] = surface_radius(surface, x / length, y / length, z / length)
        else:
            radii[i] = surface_radius(surface, 0.0, 0.0, 1.0)


def radius_towards(surface: Surface, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radii (um) of a surface towards ``directions``, vectors of any length in the last axis of (..., 3)."""
    flat = np.ascontiguousarray(directions, dtype=np.float64).reshape(-1, 3)
    radii = np.empty(flat.shape[0])
    _surface_radii(radii, surface, flat)
    return radii.reshape(np.shape(directions)[:-1])


def draw_surface(
    radius: float,
    *,
    roughness: float,
    asphericity: float,
    wave_numbers: tuple[float, float],
    rng: np.random.Generator,
) -> Surface:
    """A random rough surface around the origin that holds the volume of a sphere of ``radius`` (um).

    Parameters
    ----------
    roughness, asphericity
        Standard deviations of the radius over all directions, relative: short waves, and the l = 2 shape.
    wave_numbers
        Range of the short waves' numbers per radian, at most 20.
    """
    matrix = rng.standard_normal((3, 3))
    matrix = matrix + matrix.T
    matrix -= np.eye(3) * np.trace(matrix) / 3
    vectors = rng.standard_normal((_WAVES, 3))
    vectors *= rng.uniform(*wave_numbers, (_WAVES, 1)) / np.linalg.norm(vectors, axis=1, keepdims=True)
    waves = np.column_stack([vectors, rng.uniform(0, 2 * pi, _WAVES), np.ones(_WAVES)])
    directions, weights = _sphere_quadrature()
    nothing, sphere = np.zeros((3, 3)), np.zeros((0, 5))
    long = radius_towards(Surface(1.0, 0.0, matrix, sphere, 0.0, 0.0), directions)
    short = radius_towards(Surface(1.0, 0.0, nothing, waves, 0.0, 0.0), directions)
    long_std, short_mean = np.sqrt(weights @ long**2), weights @ short
    short_std = np.sqrt(weights @ (short - short_mean) ** 2)
    matrix *= asphericity / long_std
    waves[:, 4] = roughness / short_std
    offset = float(1 - roughness * short_mean / short_std)
    relative = offset + asphericity * long / long_std + roughness * short / short_std
    scale = radius / float(np.cbrt(weights @ relative**3))
    waves = waves if roughness > 0 else sphere
    most = float(np.abs(np.linalg.eigvalsh(matrix)).max() + np.abs(waves[:, 4]).sum())
    return Surface(scale, offset, matrix, waves, scale * (offset - most), scale * (offset + most))


def _sphere_quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions (n, 3) and weights (n,) of sum 1 for means over the sphere."""
    cosine, weight = np.polynomial.legendre.leggauss(_QUADRATURE)
    azimuth = np.arange(2 * _QUADRATURE) * pi / _QUADRATURE
    sine = np.sqrt(1 - cosine**2)[:, None]
    x, y = sine * np.cos(azimuth), sine * np.sin(azimuth)
    directions = np.stack([x, y, np.broadcast_to(cosine[:, None], x.shape)], axis=-1).reshape(-1, 3)
    return directions, np.repeat(weight / 2, 2 * _QUADRATURE) / (2 * _QUADRATURE)

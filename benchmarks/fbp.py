"""Our filtered back-projection against ASTRA, algotom and scikit-image, on one core, in one run.

Every engine reconstructs the same sinogram: a cracked secondary particle of Voronoi grains, drawn and projected
at twice the resolution (by ASTRA's strip kernel, or scikit-image where ASTRA is absent) and binned. The axis lies
at the centre of the detector. Peers are turned to our image axes and given their best offset in half pixels;
no engine is scaled: attenuation is absolute. RMSE is relative to the mean attenuation, inside the particle.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift
from scipy.spatial import cKDTree

from cathoscope.tomography.reconstruct import plan_reconstruction, reconstruct

FloatArray = NDArray[np.floating]
Engine = Callable[[FloatArray], FloatArray]

SIZE = 512
N_ANGLES = 720
N_BATCH = 32
PHOTONS = 5000.0
LARGEST_DEPTH = 1.2
BLURS = np.arange(0.0, 1.41, 0.05)
LEAST_RATIO = 30.0
ANGLE_DEG = np.arange(N_ANGLES) * 180.0 / N_ANGLES


def particle(size: int, rng: np.random.Generator) -> FloatArray:
    """Attenuation of a slice through grains of differing attenuation, with cracks between grains and pores."""
    position = np.linspace(-1, 1, size, endpoint=False) + 1.0 / size
    y, x = np.meshgrid(position, position, indexing="ij")
    distance, nearest = cKDTree(rng.uniform(-0.9, 0.9, (220, 2))).query(np.stack([y, x], axis=-1), k=2)
    image = rng.uniform(0.85, 1.15, 220)[nearest[..., 0]]
    image[(distance[..., 1] - distance[..., 0] < 0.008) & (nearest.sum(axis=-1) % 3 == 0)] = 0.0
    for centre_y, centre_x, radius in np.column_stack(
        [rng.uniform(-0.55, 0.55, (40, 2)), rng.uniform(0.006, 0.04, 40)]
    ):
        image[(y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2] = 0.0
    radius = 0.78 + 0.04 * np.cos(3 * np.arctan2(y, x)) + 0.02 * np.sin(7 * np.arctan2(y, x))
    return np.where(np.hypot(x, y) < radius, image, 0.0)


def projected(image: FloatArray) -> FloatArray:
    """Sinogram ``[projection, column]`` of ``image``, path lengths in its pixels, in our geometry."""
    if importlib.util.find_spec("astra") is None:
        from skimage.transform import radon

        return radon(image[::-1], theta=-ANGLE_DEG, circle=True).T
    import astra

    volume = astra.create_vol_geom(*image.shape)
    geometry = astra.create_proj_geom("parallel", 1.0, image.shape[0], np.deg2rad(-ANGLE_DEG))
    projector = astra.create_projector("strip", geometry, volume)
    identifier, sinogram = astra.create_sino(image, projector)
    astra.data2d.delete(identifier)
    astra.projector.delete(projector)
    return sinogram


def engines() -> dict[str, tuple[Engine, int, bool]]:
    """Name -> (sinogram to image, slices per call, is a peer); a peer that is absent is named and left out."""
    plan = plan_reconstruction(ANGLE_DEG, SIZE)
    axis = 0.5 * (SIZE - 1)

    def ours(sinogram: FloatArray) -> FloatArray:
        batch = np.broadcast_to(sinogram.astype(np.float32), (N_BATCH, *sinogram.shape))
        return reconstruct(plan, batch, axis, None, 1.0)[0]

    def algotom(sinogram: FloatArray) -> FloatArray:
        from algotom.rec.reconstruction import fbp_reconstruction

        options = {"filter_name": None, "apply_log": False, "gpu": False, "ncore": 1, "ratio": None}
        return fbp_reconstruction(sinogram, axis, angles=np.deg2rad(ANGLE_DEG), **options)

    def iradon(sinogram: FloatArray) -> FloatArray:
        from skimage.transform import iradon as skimage_iradon

        return skimage_iradon(
            sinogram.T.astype(np.float64), theta=ANGLE_DEG, filter_name="ramp", circle=False, output_size=SIZE
        )

    found: dict[str, tuple[Engine, int, bool]] = {"cathoscope": (ours, N_BATCH, False)}
    peers = {
        "ASTRA linear": ("astra", astra_fbp),
        "algotom fbp": ("algotom", algotom),
        "scikit-image iradon": ("skimage", iradon),
    }
    for name, (module, engine) in peers.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name}: skipped, the module {module} is not installed")
        else:
            found[name] = (engine, 1, True)
    return found


def astra_fbp(sinogram: FloatArray) -> FloatArray:
    import astra

    volume = astra.create_vol_geom(SIZE, SIZE)
    geometry = astra.create_proj_geom("parallel", 1.0, SIZE, np.deg2rad(-ANGLE_DEG))
    projector = astra.create_projector("linear", geometry, volume)
    sinogram_id = astra.data2d.create("-sino", geometry, sinogram)
    image_id = astra.data2d.create("-vol", volume)
    config = astra.astra_dict("FBP")
    config.update(ProjectorId=projector, ProjectionDataId=sinogram_id, ReconstructionDataId=image_id)
    config["option"] = {"FilterType": "ram-lak"}
    algorithm = astra.algorithm.create(config)
    astra.algorithm.run(algorithm)
    image = astra.data2d.get(image_id)
    astra.algorithm.delete(algorithm)
    astra.data2d.delete([sinogram_id, image_id])
    astra.projector.delete(projector)
    return image


def rmse(image: FloatArray, truth: FloatArray, inside: NDArray[np.bool_]) -> float:
    return float(np.sqrt(np.mean((image - truth)[inside] ** 2)) / truth[inside].mean())


def best_alignment(image: FloatArray, truth: FloatArray, inside: NDArray[np.bool_]) -> tuple[Callable, str]:
    """Flip and offset that bring a peer's noise-free image closest to the truth."""
    flips = {"as is": lambda a: a, "y": lambda a: a[::-1], "x": lambda a: a[:, ::-1], "xy": lambda a: a[::-1, ::-1]}
    flips |= {f"transposed {name}": (lambda a, flip=flip: flip(a.T)) for name, flip in list(flips.items())}
    name = min(flips, key=lambda key: rmse(flips[key](image), truth, inside))
    turned = flips[name](image)
    offsets = [(dy, dx) for dy in (-1, -0.5, 0, 0.5, 1) for dx in (-1, -0.5, 0, 0.5, 1)]
    moved = {offset: shift(turned, offset, order=3) if any(offset) else turned for offset in offsets}
    offset = min(offsets, key=lambda key: rmse(moved[key], truth, inside))

    def align(peer: FloatArray) -> FloatArray:
        return shift(flips[name](peer), offset, order=3) if any(offset) else flips[name](peer)

    return align, f"{name}, offset {offset} px"


def cpu_seconds(engine: Engine, sinogram: FloatArray, n_slices: int) -> float:
    times = []
    # process_time counts every thread, so an engine gains nothing by using several
    for _ in range(3):
        start = time.process_time()
        engine(sinogram)
        times.append((time.process_time() - start) / n_slices)
    return float(np.median(times))


def main() -> int:
    rng = np.random.default_rng(2026)
    fine = particle(2 * SIZE, rng)
    truth = fine.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3))
    sinogram = 0.5 * projected(fine).reshape(N_ANGLES, SIZE, 2).mean(axis=2)
    factor = LARGEST_DEPTH / sinogram.max()
    truth, sinogram = truth * factor, (sinogram * factor).astype(np.float32)
    noisy = -np.log(np.maximum(rng.poisson(PHOTONS * np.exp(-sinogram)), 1) / PHOTONS).astype(np.float32)
    inside = gaussian_filter((truth > 0).astype(float), 8) > 0.5

    print(f"{SIZE} x {SIZE} from {N_ANGLES} angles; RMSE relative to the mean attenuation inside the particle")
    print(f"{'engine':<22}{'CPU s/slice':>12}{'RMSE':>9}{'RMSE noisy, best blur':>24}")
    result: dict[str, tuple[float, float, float]] = {}
    for name, (engine, n_slices, is_peer) in engines().items():
        clean = engine(sinogram)
        align, how = best_alignment(clean, truth, inside) if is_peer else (lambda image: image, "not aligned")
        noisy_image = align(engine(noisy))
        blurred = min((rmse(gaussian_filter(noisy_image, blur), truth, inside), blur) for blur in BLURS)
        result[name] = (cpu_seconds(engine, sinogram, n_slices), rmse(align(clean), truth, inside), blurred[0])
        seconds, error, noisy_error = result[name]
        print(f"{name:<22}{seconds:>12.4f}{error:>9.4f}{noisy_error:>15.4f} at {blurred[1]:.2f} px   ({how})")
    return verdict(result)


def verdict(result: dict[str, tuple[float, float, float]]) -> int:
    ours = result["cathoscope"]
    for name in [name for name in result if name != "cathoscope"]:
        ratios = [theirs / own for theirs, own in zip(result[name], ours, strict=True)]
        print(f"{name} over cathoscope: CPU {ratios[0]:.1f}, RMSE {ratios[1]:.3f}, noisy RMSE {ratios[2]:.3f}")
    if "ASTRA linear" not in result:
        print("no verdict without ASTRA")
        return 0
    seconds, error, noisy_error = result["ASTRA linear"]
    held = seconds >= LEAST_RATIO * ours[0] and ours[1] <= error and ours[2] <= noisy_error
    print(
        f"at least {LEAST_RATIO:g} times less CPU than ASTRA linear and no worse RMSE: {'held' if held else 'FAILED'}"
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

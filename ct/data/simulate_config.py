"""What `bayesnn-ct simulate` was asked for, and what follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from bayesnn.checks import check_count, check_positive
from ct.data.ellipses import EllipsePhantom
from ct.data.images import read_image
from ct.data.phantoms import shepp_logan
from ct.data.simulated_noise import Noise, photons, photons_after_log, white_noise
from ct.data.simulated_objects import Scanned, scanned_images, scanned_phantoms
from ct.data.simulated_scans import fan_scan, parallel_scan
from ct.geometry import ImageGrid, Scan
from ct.possible_scan import check_length

PHANTOMS = ("shepp-logan", "shepp-logan-1974", "random-shepp-logan")
_PER_MM = "1/mm"


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """What `bayesnn-ct simulate` was asked for.

    Attributes:
        image: file of the image or stack; None for a phantom.
        output: sinogram file to write.
        views: number of angles.
        snr_db: signal-to-noise ratio in dB; infinity for no noise. Not used with `photons`.
        geometry: kind of scan; "parallel" or "fan".
        seed: seed of the noise and of random phantoms.
        pixel_size: side of a pixel in mm, for images that do not say (1 mm by default).
        arc: range of the angles in degrees; None for half a turn (parallel) or a whole one (fan).
        source_origin: of a fan, in mm; None for twice the image's longer side.
        source_detector: of a fan, in mm; None for 1.5 times `source_origin`.
        photons: mean count of an empty ray; None for white noise.
        post_log: whether line integrals with the photons' noise are written instead of counts.
        attenuation: 1/mm that a value of 1 stands for (in HU, that of water); None keeps values.
        phantom: one of `PHANTOMS`; None for an image.
        size: rows and columns of a phantom's truth; None for 256.
        n_phantoms: how many slices, of random phantoms each another one; None for 1.
        same_discretisation: whether a phantom's pixels are projected.
        oversample: pixels into which an image's pixel is divided along either axis.
        samples_per_bin: rays spread over each detector bin.
        truth: .npy file of what a perfect reconstruction is; None for none.
    """

    image: Path | None = None
    output: Path
    views: int = 60
    snr_db: float = 40.0
    geometry: str = "parallel"
    seed: int = 0
    pixel_size: float | None = None
    arc: float | None = None
    source_origin: float | None = None
    source_detector: float | None = None
    photons: float | None = None
    post_log: bool = False
    attenuation: float | None = None
    phantom: str | None = None
    size: int | None = None
    n_phantoms: int | None = None
    same_discretisation: bool = False
    oversample: int = 1
    samples_per_bin: int = 1
    truth: Path | None = None


def noise_of(config: SimulateConfig) -> Noise:
    """Return the noise that was asked for.

    Raises:
        ValueError: settings that are impossible.
    """
    if config.photons is None:
        if config.post_log:
            raise ValueError("--post-log: is noise of --photons; give their number too.")
        return white_noise(config.snr_db)
    i0 = check_positive(config.photons, "--photons")
    return photons_after_log(i0) if config.post_log else photons(i0)


def scan_of(config: SimulateConfig, grid: ImageGrid) -> Scan:
    """Return the scan that was asked for.

    Raises:
        ValueError: settings that are impossible.
    """
    if config.geometry not in {"parallel", "fan"}:
        raise ValueError(f"--geometry: expected parallel or fan, got {config.geometry!r}.")
    arc = {} if config.arc is None else {"arc": math.radians(config.arc)}
    if config.geometry == "fan":
        return fan_scan(
            grid,
            views=config.views,
            source_origin=config.source_origin,
            source_detector=config.source_detector,
            **arc,
        )
    if not (config.source_origin is None and config.source_detector is None):
        raise ValueError(
            "--source-origin and --source-detector: are distances of --geometry fan; a parallel "
            "beam has no source."
        )
    return parallel_scan(grid, views=config.views, **arc)


def scanned_of(config: SimulateConfig) -> Scanned:
    """Return what is to be scanned.

    Raises:
        ValueError: an image that cannot be used, or settings that are impossible.
    """
    if config.phantom is not None:
        return _phantoms(config, config.phantom)
    if config.image is None:
        raise ValueError("IMAGE: expected a file, or --phantom; got neither.")
    for name, given in (("--size", config.size), ("--phantoms", config.n_phantoms)):
        if given is not None:
            raise ValueError(f"{name}: is for --phantom, but IMAGE is {config.image}.")
    oversample = check_count(config.oversample, "--oversample")
    if config.same_discretisation and oversample > 1:
        raise ValueError(
            "--same-discretisation and --oversample: contradict each other; give one of them."
        )
    stack = read_image(config.image)
    pixel_size = 1.0 if stack.pixel_size is None else stack.pixel_size
    if config.pixel_size is not None:
        pixel_size = check_length(config.pixel_size, "--pixel-size")
    scale, shift, units = _scaling(config, stack.units)
    return scanned_images(
        stack,
        ImageGrid(stack.shape[1:], pixel_size, stack.slice_spacing),
        units=units,
        scale=scale,
        shift=shift,
        oversample=oversample,
        samples_per_bin=check_count(config.samples_per_bin, "--samples-per-bin"),
    )


def _phantoms(config: SimulateConfig, name: str) -> Scanned:
    if name not in PHANTOMS:
        raise ValueError(f"--phantom: expected {' or '.join(PHANTOMS)}, got {name!r}.")
    if config.image is not None:
        raise ValueError(f"--phantom: takes the place of IMAGE, but IMAGE is {config.image}.")
    if config.oversample != 1:
        raise ValueError(
            "--oversample: is for an IMAGE; a phantom's line integrals are exact without it."
        )
    side = check_count(256 if config.size is None else config.size, "--size")
    pixel_size = 1.0 if config.pixel_size is None else config.pixel_size
    grid = ImageGrid((side, side), check_length(pixel_size, "--pixel-size"))
    scale, _, units = _scaling(config, "")
    seed = config.seed if name.startswith("random") else None

    def make(index: int) -> EllipsePhantom:
        original = name.endswith("1974")
        return shepp_logan(grid, original=original, seed=seed, index=index).scaled(scale)

    return scanned_phantoms(
        make,
        grid,
        n_slices=check_count(1 if config.n_phantoms is None else config.n_phantoms, "--phantoms"),
        units=units,
        source=name,
        same_discretisation=config.same_discretisation,
        samples_per_bin=check_count(config.samples_per_bin, "--samples-per-bin"),
    )


def _scaling(config: SimulateConfig, units: str) -> tuple[float, float, str]:
    """Return factor, summand and units that make attenuation of an image, where it is asked for."""
    if config.attenuation is None:
        if config.photons is not None and units != _PER_MM:
            what = f"are in {units}" if units else "have no unit"
            raise ValueError(
                f"--photons: counts need an image of attenuation in 1/mm, but its values {what}; "
                "say with --attenuation what a value of 1 (of images in HU: water) attenuates, "
                "such as 0.02."
            )
        return 1.0, 0.0, units
    attenuation = check_positive(config.attenuation, "--attenuation")
    if units == "HU":  # −1000 is air, 0 is water
        return attenuation / 1000, attenuation, _PER_MM
    return attenuation, 0.0, _PER_MM

"""A picture of one slice: what was measured, its image, what that leaves, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ct.artefacts.stripes import remove_stripes
from ct.chunk import noise_of
from ct.data.own_files import check_replaceable, is_marked
from ct.data.result_file import open_reconstruction
from ct.data.scan_input import ScanInput
from ct.figure import check_figure, save_figure, slice_panels
from ct.projectors.operator import Projector
from ct.reconstruct_config import ReconstructConfig
from ct.result import Reconstruction
from ct.units import from_hounsfield


@dataclass(frozen=True, kw_only=True)
class SlicePictures:
    """The pictures that a run was asked for.

    Attributes:
        config: what the run was asked for.
        numbers: the slices' numbers in the scan.
    """

    config: ReconstructConfig
    numbers: list[int]

    def paths(self) -> list[tuple[Path, int]]:
        """Return each picture and its slice's place in the result."""
        config, n = self.config, len(self.numbers)
        wanted = [] if config.figure is None else [(config.figure, n // 2)]
        if config.figures is not None:
            digits = max(4, len(str(self.numbers[-1])))
            wanted += [
                (config.figures / f"slice-{number:0{digits}d}.png", place)
                for place, number in enumerate(self.numbers)
            ]
        return wanted

    def check(self) -> None:
        """Refuse pictures that could not be written, before work starts.

        Raises:
            ValueError: a folder cannot be made or written, a suffix names no format, or a file of
                another kind is in a picture's place.
        """
        if self.config.figure is not None:
            check_figure(self.config.figure)
        for path, _ in self.paths():
            check_replaceable(path, "picture of bayesnn-ct", is_marked)
        if self.config.figures is not None:
            folder = self.config.figures
            if not folder.is_dir() and (folder.exists() or not folder.parent.is_dir()):
                raise ValueError(
                    f"--figures: expected a folder, or a new one's name, got {folder}; make the "
                    "folder that it shall stand in, or choose another name."
                )

    def draw(self, source: ScanInput, projector: Projector) -> None:
        """Draw them from the result file, one slice in memory at a time.

        Args:
            source: the scan.
            projector: the linear map from image to sinogram.

        Raises:
            ValueError: a picture cannot be written.
        """
        wanted = self.paths()
        if not wanted:
            return
        if self.config.figures is not None:
            self.config.figures.mkdir(exist_ok=True)
        with open_reconstruction(self.config.output) as stored:
            for path, place in wanted:
                one = stored.read(place, samples=False)
                _draw(path, one, self.config, source, self.numbers[place], projector)


def _draw(
    path: Path,
    one: Reconstruction,
    config: ReconstructConfig,
    source: ScanInput,
    number: int,
    projector: Projector,
) -> None:
    measured = source.read(number)
    sinogram = torch.from_numpy(measured.values)
    if config.remove_stripes:
        sinogram = remove_stripes(sinogram)
    noise = noise_of(config.noise_std, measured)
    mean = one.mean if config.mu_water is None else from_hounsfield(one.mean, config.mu_water)
    residual = sinogram - projector(mean)
    residual = residual / (one.metadata["noise_std"][0] if noise is None else noise.float())
    panels = slice_panels(
        one=one,
        sinogram=sinogram.numpy(),
        residual=residual.float().numpy(),
        # counts are shown by what becomes of them
        sinogram_units="" if source.values == "counts" else source.file.units,
        title=f"slice {number}: {one.metadata['method']}",
    )
    save_figure(path, panels)

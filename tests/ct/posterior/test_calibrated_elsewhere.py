import math

import pytest
import torch

import ct
from ct.posterior.calibrated_elsewhere import calibrated_on, learn_from_scans

GRID = ct.ImageGrid((16, 16))
SCAN = ct.ParallelBeam([k * math.pi / 12 for k in range(12)], n_detectors=24)
METHOD = ct.jackknife(mean=ct.cgls(iterations=5), n_folds=3, n_samples=5)


def _scanned(seed: int, method: object = METHOD) -> tuple[ct.Reconstruction, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randn(2, 16, 16, generator=generator, dtype=torch.float64)
    clean = ct.projector(GRID, SCAN)(truth)
    noise = 0.3 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return ct.reconstruct(clean + noise, SCAN, GRID, method=method, noise_std=0.3), truth


def test_half_widths_are_the_quantiles_of_other_scans_errors_and_named():
    pairs = []
    result, _ = _scanned(0)
    for seed in range(20):  # errors are twice what the method says
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn(2, 16, 16, generator=generator, dtype=torch.float64)
        pairs.append((result, result.mean + 2 * result.std * normal))
    learnt = learn_from_scans("twenty phantoms", pairs)
    assert (learnt.method, learnt.n_slices) == ("jackknife", 40)
    assert learnt.half_widths[0.5] == pytest.approx(2 * 0.6745, rel=0.04)
    assert learnt.half_widths[0.95] == pytest.approx(2 * 1.96, rel=0.04)

    result, _ = _scanned(99, calibrated_on(METHOD, learnt))
    plain, _ = _scanned(99)
    assert torch.equal(result.std, plain.std)
    low, high = result.interval(0.95)
    assert torch.allclose((high - low) / 2, learnt.half_widths[0.95] * result.std)
    assert result.metadata["calibration"].startswith(plain.metadata["calibration"])
    assert result.metadata["calibration"].endswith(
        "; half widths from twenty phantoms (40 slices with a truth)"
    )
    assert result.metadata["settings"]["calibrated_on"] == "twenty phantoms"
    assert result.metadata["held_out_coverage"] == [None, None]


def test_what_does_not_fit_is_refused():
    result, truth = _scanned(0)
    with pytest.raises(ValueError, match="expected a name, and results"):
        learn_from_scans("", [(result, truth)])
    with pytest.raises(ValueError, match="expected a name, and results"):
        learn_from_scans("nothing", [])
    with pytest.raises(ValueError, match="truth: expected the result's shape"):
        learn_from_scans("one", [(result, truth[0])])
    bare, _ = _scanned(0, ct.cgls())
    with pytest.raises(ValueError, match="expected results of one method, got cgls and jackknife"):
        learn_from_scans("two", [(result, truth), (bare, truth)])
    with pytest.raises(ValueError, match="with error bars"):
        learn_from_scans("two", [(bare, truth)])
    learnt = learn_from_scans("white noise", [(result, truth)])
    with pytest.raises(ValueError, match="was learnt with jackknife, got mc-dropout"):
        calibrated_on(ct.mc_dropout(), learnt)

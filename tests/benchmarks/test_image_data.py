import itertools

import numpy as np
import pytest

from benchmarks.image_classes.corruptions import LEVELS, STRENGTHS, corrupted
from benchmarks.image_classes.data import block_counts, digits, split
from benchmarks.image_classes.letters import LETTERS, LIKE_DIGITS, draw_letters
from benchmarks.image_classes.surrogates import surrogates
from benchmarks.image_classes.work import ALIKE, outside_images


def test_splits_are_disjoint_whole_and_stratified():
    labels = digits().labels
    seen = []
    for seed in range(3):
        parts = split(labels, seed=seed)
        together = np.concatenate([parts.train, parts.validation, parts.test])
        assert sorted(together.tolist()) == list(range(len(labels)))
        assert np.isclose(len(parts.test) / len(labels), 0.2, atol=0.005)
        assert np.isclose(len(parts.validation) / len(labels), 0.16, atol=0.005)
        for rows in (parts.train, parts.validation, parts.test):
            shares = np.bincount(labels[rows], minlength=10) / np.bincount(labels)
            assert np.ptp(shares) < 0.01
        again = split(labels, seed=seed)
        np.testing.assert_array_equal(parts.test, again.test)
        seen.append(set(parts.test.tolist()))
    assert seen[0] != seen[1] != seen[2]


def test_letters_follow_their_seed_alone():
    images, letter = draw_letters(2, side=28, height=20, seed=3)
    assert images.shape == (52, 28, 28)
    assert letter.tolist() == [one for one in LETTERS for _ in range(2)]
    again, _ = draw_letters(3, side=28, height=20, seed=3)
    np.testing.assert_array_equal(images[2:4], again[3:5])  # whatever else is drawn
    alone, _ = draw_letters(2, side=28, height=20, seed=3, letters="B")
    np.testing.assert_array_equal(images[2:4], alone)
    other, _ = draw_letters(2, side=28, height=20, seed=4)
    differ = np.abs(images - other).max((1, 2)) > 0.1
    assert differ.all()
    assert not np.array_equal(images[0], images[1])


def test_letters_stand_in_the_middle_and_fill_their_height():
    images, letter = draw_letters(20, side=28, height=20, seed=0)
    drawn = images > 0.5
    rows = drawn.any(2)
    first, last = rows.argmax(1), 27 - rows[:, ::-1].argmax(1)
    upright = ~np.isin(letter, ["Q", "J"])  # they reach below the line
    height = (last - first + 1)[upright]
    assert 19 <= np.median(height) <= 22
    assert np.abs((first + last)[upright].mean() / 2 - 13.5) < 0.5
    columns = drawn.any(1)
    middle = (columns.argmax(1) + 27 - columns[:, ::-1].argmax(1)) / 2
    assert abs(middle.mean() - 13.5) < 0.5
    assert middle.std() > 0.4  # they are shifted
    assert images.min() == 0
    assert images.max() == 1


def test_letters_like_digits_stand_apart():
    budget = type("Budget", (), {"per_letter": 2, "outside": 1})()
    found = outside_images(8, budget, None, seed=0)
    assert {name: len(one) for name, one in found.items()} == {
        "letters": 2 * (26 - len(LIKE_DIGITS)),
        ALIKE: 2 * len(LIKE_DIGITS),
    }
    assert set("OISZB") <= set(LIKE_DIGITS)
    drawn, letter = draw_letters(2, side=32, height=30, seed=0)
    alike = np.isin(letter, list(LIKE_DIGITS))
    np.testing.assert_array_equal(found[ALIKE], block_counts(drawn)[alike])


def test_blocks_are_counted_as_the_digits_were():
    images = np.zeros((1, 32, 32))
    images[0, 4:8, 8:12] = 1.0
    images[0, 0, 0] = 1.0
    counted = block_counts(images)[0]
    assert counted[1, 2] == 1
    assert counted[0, 0] == 1 / 16
    assert counted.sum() == 1 + 1 / 16

    padded = block_counts(np.ones((1, 28, 28)))[0]
    assert padded[0, 0] == 4 / 16
    assert padded[3, 3] == 1
    values = 16 * block_counts(np.random.default_rng(0).random((5, 28, 28)))
    np.testing.assert_array_equal(values, values.round())
    with pytest.raises(ValueError, match="expected"):
        block_counts(np.zeros((1, 8, 8)))


def test_digits_are_in_the_range_of_what_is_counted():
    images = digits().images
    np.testing.assert_array_equal(16 * images, (16 * images).round())
    assert (images.min(), images.max()) == (0, 1)


@pytest.mark.parametrize("kind", LEVELS)
def test_corruptions_grow_with_their_strength(kind):
    images = digits().images[:40]
    far = [np.abs(corrupted(images, kind, s, seed=1) - images).mean() for s in STRENGTHS]
    assert far[0] == 0
    assert all(a < b for a, b in itertools.pairwise(far))
    worst = corrupted(images, kind, 3, seed=1)
    assert worst.min() >= 0
    assert worst.max() <= 1
    np.testing.assert_array_equal(worst, corrupted(images, kind, 3, seed=1))


def test_contrast_and_blur_keep_the_mean():
    images = digits().images[:40]
    faded = corrupted(images, "contrast", 2, seed=0)
    np.testing.assert_allclose(faded.mean((1, 2)), images.mean((1, 2)))
    spread = faded.std((1, 2)) / images.std((1, 2))
    np.testing.assert_allclose(spread, 0.4)
    one = np.zeros((2, 9, 9))
    one[0, 4, 4] = 1.0
    blurred = corrupted(one, "blur", 2, seed=0)
    assert blurred[1].max() == 0  # no image touches the next
    assert blurred[0].sum() == pytest.approx(1, abs=1e-3)


def test_rotations_go_either_way():
    bar = np.zeros((30, 15, 15))
    bar[:, 7, :] = 1.0
    turned = corrupted(bar, "rotation", 2, seed=0)
    left = turned[:, :5, :5].sum((1, 2)) > turned[:, :5, 10:].sum((1, 2))
    assert 5 < left.sum() < 25


@pytest.mark.parametrize(("kind", "strength"), [("fog", 1), ("noise", 4)])
def test_unknown_corruptions_are_refused(kind, strength):
    with pytest.raises(ValueError, match=r"corruption: expected one of noise, blur"):
        corrupted(np.zeros((1, 8, 8)), kind, strength, seed=0)


def test_surrogates_are_what_they_are_said_to_be():
    images, labels = digits().images[:60], digits().labels[:60]
    found = surrogates(images, labels, seed=0)
    again = surrogates(images, labels, seed=0)
    for name, one in found.items():
        np.testing.assert_array_equal(one, again[name])
        assert one.shape == images.shape
        assert not any(np.array_equal(a, b) for a, b in zip(one, images, strict=True))

    def quarters(image):
        return sorted(image[i : i + 4, j : j + 4].tobytes() for i in (0, 4) for j in (0, 4))

    for before, after in zip(images, found["quarters"], strict=True):
        assert quarters(before) == quarters(after)
    for image, label, laid in zip(images, labels, found["overlaid"], strict=True):
        partners = [np.array_equal(np.maximum(image, one), laid) for one in images[labels != label]]
        assert any(partners)
    assert found["scrambled"].min() >= 0
    assert found["scrambled"].max() <= 1

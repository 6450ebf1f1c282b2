"""What a reader of the report must know of how its numbers came about."""

from __future__ import annotations

from collections import Counter

from benchmarks.image_classes.budget import Budget
from benchmarks.image_classes.letters import LIKE_DIGITS
from benchmarks.image_classes.methods import BASELINE, SAME_LIKELIHOOD
from benchmarks.image_classes.tables import failures
from benchmarks.record_file import Record


def notes(one: Budget, records: list[Record]) -> list[str]:
    """Return what was spent, how choices were made, what the images are and what failed.

    Args:
        one: the budget.
        records: of all cells.
    """
    budget = (
        f"Every method: convnet of {one.depth} convolutions of {one.width} channels and stride 2, "
        f"{one.steps} Adam steps of {one.batch_size} images a member, at most {one.candidates} "
        f"candidate settings judged by {one.choosing} members each, {one.members} members scored "
        f"({one.draws} draws for posteriors of one network and the Gaussian process, which sees "
        f"at most {one.kernel_rows} training images and takes scale and noise by marginal "
        f"likelihood). {BASELINE} and single network are as they are used: cross-entropy, weights "
        f"of He's scale, the learning rate chosen. {SAME_LIKELIHOOD} is trained, and its "
        "uncertainty read, as our members are, without regulariser and added function."
    )
    choices = (
        "Chosen on validation images (16 % of all; 20 % are test, 64 % train): the setting that "
        "tells outliers best among those within one standard error of the least NLL; the "
        "temperature; the uncertainty. Outliers: validation images with their quarters rearranged, "
        "laid over one of another class, and with random Fourier phases. No Fashion-MNIST, letter "
        "or corrupted image has a part in a choice. The family's choice is the least validation "
        "NLL of each split. Expected square: E‖f̃ − t‖² over members, t the target of regression "
        "on indicators of the class of the largest mean value."
    )
    forms = (
        f"Letters that look like digits ({' '.join(LIKE_DIGITS)}) stand apart from the other "
        f"{26 - len(LIKE_DIGITS)}: they may rightly be taken for digits. For the digits' 8×8 "
        "form others are counted in blocks of 4×4 of 32×32 pixels, to whole numbers 0 … 16."
    )
    errors = (
        "± is the standard deviation over random splits by their root; differences to deep "
        "ensembles are paired, with the standard error that allows for overlapping splits (Nadeau "
        "and Bengio, 2003). ECE has 15 bins. Seconds are the sum over splits."
    )
    devices = Counter(record["device"] for record in records if "device" in record)
    ran = "Fitted and scored on: " + ", ".join(f"{name} ({n})" for name, n in devices.items())
    return [budget, choices, forms, errors, f"{ran} cells." * bool(devices), failures(records)]

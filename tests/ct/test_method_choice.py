"""Names and settings as users type them become methods, or one clear error."""

from __future__ import annotations

import pytest

from ct.method_choice import choose_method
from ct.method_names import METHOD_NAMES


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_results_settings_make_the_same_method_again(name: str) -> None:
    method = choose_method(name)
    assert method.name == name
    assert choose_method(name, method.settings()).settings() == method.settings()


def test_settings_reach_the_method_and_its_network() -> None:
    settings = {"steps": 3, "dropout": 0.5, "network": "fourier", "network.width": 20}
    chosen = choose_method("mc-dropout", settings).settings()
    assert {key: chosen[key] for key in settings} == settings
    nested = {"steps": 3, "dropout": 0.5, "network": {"name": "fourier", "width": 20}}
    assert choose_method("mc-dropout", nested).settings() == chosen
    assert choose_method("mc-dropout", {"network": {"width": 20}}).settings()["network.width"] == 20
    assert choose_method("fbp", {"window": "ramp"}).settings() == {"window": "ramp"}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mcdropout", {}, "expected mc-dropout or fbp or .*got 'mcdropout'"),
        ("mc-dropout", {"step": 3}, "no setting is called 'step'; its settings are .*steps"),
        ("mc-dropout", {"steps": "many"}, "steps: expected a value like 1"),
        ("mc-dropout", {"steps": True}, "steps: expected a value like 1"),
        ("mc-dropout", {"steps": 0}, "steps"),
        ("mc-dropout", {"network": ["fourier"]}, "expected feature-grid or fourier"),
        ("mc-dropout", {"network.colour": 1}, "no setting is called 'colour'"),
        (
            "mc-dropout",
            {"network": {"colour": 1}},
            "no setting is called 'colour'; its settings are",
        ),
        ("fbp", {"window": {"width": 1}}, "no setting is called 'window.width'"),
        ("mc-dropout", {"network.width": 0.5}, "network: width"),
        ("mc-dropout", {"network.link": "exp"}, "link: expected identity or sigmoid or softplus"),
        ("fbp", {"window": "square"}, "expected hann or ramp or shepp-logan or cosine"),
        ("sirt", {"iterations": "many"}, "iterations: expected"),
        ("sirt", {"nonnegative": 1}, "nonnegative: expected"),
        ("cgls", {"damping": -1}, "damping: expected"),
        ("fbp", {"network.width": 3}, "no network"),
        ("jackknife", {"mean": {"name": "xyz"}}, "^jackknife: mean: expected .*got 'xyz'"),
        ("jackknife", {"mean": 3}, "^jackknife: mean: expected"),
    ],
)
def test_what_no_method_has_is_refused(
    name: str, settings: dict, message: str, as_users_run: None
) -> None:
    with pytest.raises(ValueError, match=message):
        choose_method(name, settings)

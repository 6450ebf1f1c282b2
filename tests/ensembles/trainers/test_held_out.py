"""Early stopping: what is held out, what is kept, and when it ends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bayesnn.networks import Erf, mlp
from bayesnn.seeds import seeded_generator
from ensembles import adam, deep_ensemble, early_stopping, ntkgp_param
from ensembles.fit import fit_members
from ensembles.losses import SquaredError
from ensembles.member_problem import training_problem
from ensembles.trainers.first_order import member_losses
from ensembles.trainers.problem import TrainingProblem

SEED = 0
LOSS = SquaredError(noise_std=torch.tensor([0.3]))


def _data(n: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 1, generator=seeded_generator(1))
    return x, x.sin() + 0.3 * torch.randn(n, 1, generator=seeded_generator(2))


def _network() -> nn.Module:
    return mlp(in_features=1, out_features=1, width=64, depth=2, activation=Erf())


def _problem(n: int = 40, members: int = 3) -> TrainingProblem:
    x, y = _data(n)
    return training_problem(
        _network(), x, y, method=deep_ensemble(), numbers=range(members), loss=LOSS, seed=SEED
    )


def test_rows_are_held_out_by_the_seed_alone() -> None:
    problem = _problem()
    rule = early_stopping(fraction=0.25)
    train, rest = rule.split(problem, SEED)
    assert (len(train.inputs), len(rest.inputs)) == (30, 10)
    both = torch.cat([train.inputs, rest.inputs]).sort(dim=0).values
    assert torch.equal(both, problem.inputs.sort(dim=0).values)
    place = (problem.inputs == rest.inputs[0]).all(1).nonzero().item()
    assert torch.equal(rest.targets[:, 0], problem.targets[:, place])
    assert torch.equal(rule.split(_problem(members=1), SEED)[1].inputs, rest.inputs)
    assert not torch.equal(rule.split(problem, SEED + 1)[1].inputs, rest.inputs)


def test_one_row_always_stays_to_train() -> None:
    train, rest = early_stopping(fraction=0.9).split(_problem(2), SEED)
    assert len(train.inputs) == len(rest.inputs) == 1
    with pytest.raises(ValueError, match="at least two rows"):
        early_stopping().split(_problem(1), SEED)


def test_members_end_at_their_best_step() -> None:
    """No member is worse on the rows held out than at any step that was checked."""
    rule = early_stopping(fraction=0.5, every=10, patience=3)
    problem = _problem()
    trainer = adam(steps=2000, learning_rate=0.05, early_stopping=rule)
    _, rest = rule.split(problem, SEED)
    trained = trainer.train(problem, seed=SEED)
    assert trained.n_steps < 2000
    best = member_losses(rest, trained.params, None)
    shorter = adam(steps=2000, learning_rate=0.05, early_stopping=rule)
    for stop in (10, 20, 30):
        seen = []

        class Stop:
            def resume(self) -> None:
                return None

            def after_step(self, step, total, losses, state, stop=stop, seen=seen) -> bool:  # type: ignore[no-untyped-def]
                if step == stop:
                    now = state()
                    seen.append({k[5:]: v.clone() for k, v in now.items() if k[:5] == "leaf/"})
                return step == stop

        shorter.train(problem, seed=SEED, monitor=Stop())
        assert bool((best <= member_losses(rest, seen[0], None) + 1e-7).all())


def test_training_ends_only_when_no_member_improves() -> None:
    """With one check of patience it ends at the first that improves none of them."""
    rule = early_stopping(fraction=0.3, every=1, patience=1)
    alone = [
        adam(steps=300, learning_rate=0.1, early_stopping=rule)
        .train(
            training_problem(
                _network(), *_data(40), method=deep_ensemble(), numbers=range(i, i + 1),
                loss=LOSS, seed=SEED,
            ),
            seed=SEED,
        )
        .n_steps
        for i in range(3)
    ]  # fmt: skip
    together = adam(steps=300, learning_rate=0.1, early_stopping=rule).train(_problem(), seed=SEED)
    assert together.n_steps >= max(alone)


def test_a_diverging_member_keeps_its_last_finite_best() -> None:
    problem = _problem()
    problem.targets[1, 5] = torch.inf
    trainer = adam(steps=20, early_stopping=early_stopping(every=2))
    params = trainer.train(problem, seed=SEED).params
    assert all(bool(value[[0, 2]].isfinite().all()) for value in params.values())


def test_it_serves_a_whole_fit() -> None:
    x, y = _data(60)
    fitted = fit_members(
        _network(), x, y, method=ntkgp_param(), n_members=2, loss=LOSS, seed=SEED,
        trainer=adam(steps=3000, early_stopping=early_stopping(every=10, patience=2)),
    )  # fmt: skip
    assert fitted.n_steps < 3000


@pytest.mark.parametrize(
    ("setting", "message"), [({"fraction": 1.0}, "fraction"), ({"patience": 0}, "patience")]
)
def test_impossible_settings_are_refused(setting: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        early_stopping(**setting)  # type: ignore[arg-type]

"""Experiments: the arms of the A/B test, whether one is ahead, and its start and stop."""

import uuid
from collections.abc import Mapping
from typing import Literal

from fastapi import Response

from vrec.serving.ab_test.log import ExperimentChanged, assignment_digest
from vrec.serving.console.experiment_forms import ROWS, experiment_of_form, field_names, form_of_arms
from vrec.serving.console.requests import CONSOLE, ConsoleRequest
from vrec.serving.http.audit import name_audited
from vrec.serving.http.errors import HttpProblem, request_id_of
from vrec.serving.ratio_counts import RateInterval

EXPERIMENTS = f"{CONSOLE}/experiments"
Verdict = Literal["ahead", "behind", "open", "few"]


async def show_experiments(page: ConsoleRequest) -> Response:
    """Show the A/B test that runs."""
    return await _experiments_page(page)


async def _experiments_page(
    page: ConsoleRequest,
    status: int = 200,
    form: Mapping[str, str] | None = None,
    problems: Mapping[str, str] | None = None,
    *,
    is_conflict: bool = False,
) -> Response:
    present, figures = await page.backend.experiment.present(), await page.backend.arms()
    verdicts = {
        arm.name: {rate: verdict(difference) for rate, difference in arm.against_first.items()}
        for arm in figures.arms
    }
    return page.page(
        "experiments.html",
        status,
        arms=figures,
        verdicts=verdicts,
        orders={arm.name: arm.order for arm in present.config.arms},
        present=present,
        # The counts follow a change a moment later.
        is_counted=figures.experiment == assignment_digest(present.config),
        # Another salt assigns the shoppers anew.
        form=form or form_of_arms(present.config, uuid.uuid4().hex[:8]),
        problems=problems or {},
        rows=range(ROWS),
        is_conflict=is_conflict,
    )


def verdict(difference: RateInterval) -> Verdict:
    """Return whether an arm is ahead of the first one: only if the interval of the difference excludes 0."""
    if difference.low is None or difference.high is None:
        return "few"
    if difference.low > 0:
        return "ahead"
    return "behind" if difference.high < 0 else "open"


async def start_experiment(page: ConsoleRequest) -> Response:
    """Start the A/B test of a form; show the form again if a field is invalid, or after another change."""
    form = {name: page.form.get(name, "")[:200] for name in field_names()}
    asked, problems = experiment_of_form(form)
    if asked is None:
        return await _experiments_page(page, 422, form, problems)
    try:
        await page.backend.experiment.change(
            asked.salt,
            [arm.to_config() for arm in asked.arms],
            page.form.get("version", ""),
            by=page.key_name,
            request_id=request_id_of(page.request),
        )
    except ExperimentChanged:
        return await _experiments_page(page, 412, form, is_conflict=True)
    return page.moved(EXPERIMENTS, done="started")


async def stop_experiment(page: ConsoleRequest) -> Response:
    """Stop the A/B test with one arm for all."""
    winner = page.form.get("winner", "")[:64]
    name_audited(page.request, winner=winner)
    present = await page.backend.experiment.present()
    if page.form.get("version", "") != present.version:
        return await _experiments_page(page, 412, is_conflict=True)
    arm = next((arm for arm in present.config.arms if arm.name == winner), None)
    if arm is None:
        raise HttpProblem(422, "invalid-form", "the A/B test has no such arm: load the page again")
    try:
        await page.backend.experiment.change(
            present.config.salt,
            [arm.model_copy(update={"share": 1.0})],
            page.form.get("version", ""),
            by=page.key_name,
            request_id=request_id_of(page.request),
        )
    except ExperimentChanged:
        return await _experiments_page(page, 412, is_conflict=True)
    return page.moved(EXPERIMENTS, done="stopped")


ROUTES = (
    ("GET", "/experiments", show_experiments),
    ("POST", "/experiments/start", start_experiment),
    ("POST", "/experiments/stop", stop_experiment),
)

"""Experiments: the arms of the A/B test, and whether one is ahead."""

from typing import Literal

from fastapi import Response

from vrec.serving.console.requests import ConsoleRequest
from vrec.serving.ratio_counts import RateInterval

Verdict = Literal["ahead", "behind", "open", "few"]


async def show_experiments(page: ConsoleRequest) -> Response:
    """Show the A/B test that runs."""
    arms = await page.backend.arms()
    verdicts = {
        arm.name: {rate: verdict(difference) for rate, difference in arm.against_first.items()}
        for arm in arms.arms
    }
    orders = {arm.name: arm.order for arm in page.config.arms.arms}
    return page.page(
        "experiments.html", arms=arms, verdicts=verdicts, orders=orders, salt=page.config.arms.salt
    )


def verdict(difference: RateInterval) -> Verdict:
    """Return whether an arm is ahead of the first one: only if the interval of the difference excludes 0."""
    if difference.low is None or difference.high is None:
        return "few"
    if difference.low > 0:
        return "ahead"
    return "behind" if difference.high < 0 else "open"


ROUTES = (("GET", "/experiments", show_experiments),)

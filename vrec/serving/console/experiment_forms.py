"""Forms that start an A/B test: rows of arms as texts, and what is wrong with them."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.serving.console.form_values import number_or_text
from vrec.serving.http.schemas.experiment import ExperimentRequest

ROWS = 4
"""Number of arms that a form may have; it needs two."""
MAX_ROUNDING = 0.0015
"""Difference of the sum of shares from 1 that is taken for rounding."""
FIELDS = ("name", "share", "order")


def field_names() -> list[str]:
    """Return the names of the form's fields."""
    return ["salt", *(f"{field}-{row}" for row in range(ROWS) for field in FIELDS)]


def form_of_arms(config: ExperimentConfig, salt: str) -> dict[str, str]:
    """Return the fields of a form with the arms of an A/B test; one arm gets a second one beside it."""
    arms = list(config.arms[:ROWS])
    if len(arms) == 1:
        other = "popular" if arms[0].order == "ranked" else "ranked"
        name = other if other != arms[0].name else f"{other}-2"
        first = arms[0].model_copy(update={"share": 0.5})
        arms = [first, ExperimentArmConfig(name=name, share=0.5, order=other)]
    form = dict.fromkeys(field_names(), "") | {"salt": salt}
    for row, arm in enumerate(arms):
        form |= {f"name-{row}": arm.name, f"share-{row}": f"{arm.share * 100:.6g}", f"order-{row}": arm.order}
    return form


def experiment_of_form(form: Mapping[str, str]) -> tuple[ExperimentRequest | None, dict[str, str]]:
    """Return the A/B test that a form asks for, and what is wrong with its fields, if anything is.

    Shares are percent; those that miss 100 by rounding, such as three times 33.3, are scaled to it. A row
    without a name and a share is left out.
    """
    rows = [
        row
        for row in range(ROWS)
        if form.get(f"name-{row}", "").strip() or form.get(f"share-{row}", "").strip()
    ]
    if len(rows) < 2:
        return None, {"arms": "two_arms"}
    arms: list[dict[str, Any]] = []
    for row in rows:
        share = number_or_text(form.get(f"share-{row}", "").strip().removesuffix("%").strip())
        arms.append(
            {
                "name": form.get(f"name-{row}", "").strip(),
                "share": share / 100 if isinstance(share, float) else share,
                "order": form.get(f"order-{row}", ""),
            }
        )
    total = sum(arm["share"] for arm in arms if isinstance(arm["share"], float))
    if 0 < abs(total - 1) <= MAX_ROUNDING:
        for arm in arms:
            arm["share"] = arm["share"] / total if isinstance(arm["share"], float) else arm["share"]
    try:
        return ExperimentRequest.model_validate({"salt": form.get("salt", "").strip(), "arms": arms}), {}
    except ValidationError as error:
        return None, dict(_problem(one, rows) for one in error.errors())


def _problem(error: Any, rows: list[int]) -> tuple[str, str]:
    """Return the field and the code of a problem."""
    where = error["loc"]
    if len(where) == 3 and where[0] == "arms":
        code = "arm_name" if where[2] == "name" else error["type"]
        return f"{where[2]}-{rows[where[1]]}", code
    if where and where[0] == "salt":
        return "salt", error["type"]
    return "arms", "one_name" if "one name" in error["msg"] else "shares"

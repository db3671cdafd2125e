"""Report of a fit that chose among recommenders, as lines for people."""

import json
from collections.abc import Mapping
from typing import Any

from vrec.retrieval.validation import METRIC


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Return a table of what was tried and chosen, or the target domain; no lines for other models.

    Args:
        report: `MatrixRecommender.report`.
    """
    if "target" in report:
        return _domain_lines(report)
    if "tried" not in report:
        return []
    validation = report["validation"]
    lines = ["too few users with several videos to compare recommenders"]
    if validation:
        held_out = {
            "time": "the latest",
            "last": "the last of each user",
            "random": "random ones",
        }
        lines = [
            f"compared on held-out interactions, {held_out[validation['holdout']]}, "
            f"of {validation['users']:,} users:",
            f"  {'model':<20} {METRIC:>8} {'seconds':>8}  settings",
        ]
    for row in report["tried"]:
        score, seconds = row.get(METRIC), row.get("seconds")
        changes = row.get("settings") or {}
        notes = [json.dumps(changes).replace('"', "")[1:-1]] if changes else []
        notes += ["on a sample of the users"] if row.get("sample") else []
        notes += [f"by {row['users']:,} of the users"] if "users" in row else []
        notes += ["from an interrupted fit"] if row.get("resumed") else []
        notes += [f"left out: {row['dropped']}"] if "dropped" in row else []
        notes += [f"not fitted again on all interactions: {row['as_tried']}"] if "as_tried" in row else []
        shown = (
            f"{'-' if score is None else f'{score:.4f}':>8} {'' if seconds is None else f'{seconds:.1f}':>8}"
        )
        lines.append(f"  {row['model']:<20} {shown}  {'; '.join(notes)}".rstrip())
    members = report["members"]
    of = f" of {', '.join(members)}" if len(members) > 1 else ""
    spent = report.get("seconds")
    took = f" ({spent['spent']:.0f} s of a budget of {spent['budget']:.0f} s)" if spent else ""
    return [*lines, f"chosen: {report['chosen']}{of}{took}"]


def _domain_lines(report: Mapping[str, Any]) -> list[str]:
    weights = ", ".join(f"{name} {weight:g}" for name, weight in report["weights"].items())
    lines = [f"recommends videos of the domain {report['target']}; weights of others: {weights or 'none'}"]
    for name, leads in report["leads"].items():
        whom = {"held_out": "for shoppers with a history", "newcomers": "for newcomers"}
        told = [
            f"{lead[0]:+.4f} ± {lead[1]:.4f} {whom[part]}" for part, lead in leads.items() if lead is not None
        ]
        if told:
            why = "" if report["weights"][name] else ", which does not pay"
            lines.append(f"  {name} above the shop alone: {', '.join(told)}{why}")
    return lines

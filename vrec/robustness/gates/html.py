"""Report of data gates as one page without scripts or links."""

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;"
    "border-bottom:1px solid #ccc}.fault{color:#a00}"
)
HOURS_SHOWN = 12
_HEAD = ("Level", "Check", "Table and columns", "Finding", "Hours", "Rows")


def report_html(report: Mapping[str, Any]) -> str:
    """Return the page of a report as JSON values."""
    rows = "".join(_row(finding) for finding in report["findings"])
    against = (
        f"compared with {report['good_days']:,} good days"
        if report["good_days"]
        else "the days compared with one another"
    )
    head = "".join(f"<th scope=col>{name}</th>" for name in _HEAD)
    table = (
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        if rows
        else "<p>Nothing was found.</p>"
    )
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Data check</title>"
        f"<style>{_STYLE}</style></head><body><h1>Data check</h1>"
        f"<p>{escape(str(report['events']))}: {report['rows']:,} events of {report['days']:,} days, "
        f"{against}; {report['faults']:,} faults.</p>{table}</body></html>"
    )


def _row(finding: Mapping[str, Any]) -> str:
    hours = finding["hours"]
    more = f" and {len(hours) - HOURS_SHOWN} more" if len(hours) > HOURS_SHOWN else ""
    shown = ", ".join(hours[:HOURS_SHOWN]) + more
    rows = f"{finding['count']:,}" + (
        f", such as {', '.join(map(str, finding['rows']))}" if finding["rows"] else ""
    )
    where = f"{finding['table']} {', '.join(finding['columns'])}"
    cells = [finding["gate"], where, finding["message"], shown, rows]
    level = finding["level"]
    return f"<tr><td class={level}>{level}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"

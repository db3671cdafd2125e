"""Output of `vrec loop` and `vrec bundles` for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_OUTCOMES = {
    "first": "the first bundle is in service",
    "promoted": "a better bundle is in service",
    "waits": "a better bundle waits for the next run, which tests it on later events",
    "kept": "the bundle in service stays",
    "not confirmed": "the bundle in service stays: the one that waited is no better on later events",
    "leak": "a bundle was better only on events that it may have seen: a leak",
    "rolled back": "the service fell after the promotion, and has the bundle before again",
    "fallen": "the service fell after the promotion, and there is no bundle to roll back to: see to it",
}


def print_night(done: Mapping[str, Any]) -> None:
    """Print the outcome of a run of the loop."""
    steps = done["steps"]
    print(f"run {done['run']}: {_OUTCOMES[done['outcome']]}")
    if done["bundle"]:
        print(f"  bundle {done['bundle']}" + (f": {done['why']}" if done["why"] else ""))
    for name, test in done["tests"].items():
        print(f"  {name}: {test['verdict']}: {'; '.join(test['reasons'])}")
        if test.get("leak"):
            print(f"    {test['leak']}")
        for guard in test.get("guards", ()):
            worse = ", worse than allowed" if guard["is_worse"] else ""
            print(
                f"    {guard['name']} {guard['challenger']:.4g}, in service {guard['in_service']:.4g}{worse}"
            )
    if done.get("watch"):
        print(f"  watch: {done['watch']['fallen'] or done['watch']['ended']}")
    if done["removed"]:
        print(f"  removed {', '.join(done['removed'])}")
    skipped = f", {len(steps['skipped'])} unchanged" if steps["skipped"] else ""
    print(f"  {len(steps['done'])} steps{skipped} in {done['seconds']:.1f} s")


def print_bundle_table(found: Mapping[str, Any]) -> None:
    """Print a line for each bundle."""
    if not found["bundles"]:
        print("no bundles")
    for row in found["bundles"]:
        if row["problem"]:
            print(f"  {row['name']}: {row['problem']}")
            continue
        mark = "*" if row["in_service"] else " "
        notes = [f"promoted {_time(row['promoted_at'])}"] if row["promoted_at"] else []
        notes += ["rolled back"] if row["rolled_back"] else []
        print(
            f"{mark} {row['name']}  {row['version']}  made {_time(row['made_at'])}  {row['videos']:,} videos"
            + (f"  {', '.join(notes)}" if notes else "")
        )


def print_difference(found: Mapping[str, Any]) -> None:
    """Print what differs between two bundles."""
    print(f"{found['before']} {found['versions'][0]} → {found['after']} {found['versions'][1]}")
    videos = found["videos"]
    print(
        f"  videos: {videos['added']:,} added, {videos['removed']:,} removed, {videos['changed']:,} changed"
    )
    for name in ("added", "removed"):
        if found[name]:
            print(f"    {name}: {', '.join(found[name])}{' …' if videos[name] > len(found[name]) else ''}")
    print(f"  models that differ: {', '.join(found['parts']) or 'none'}")
    for kind in ("settings", "figures"):
        for name, (old, new) in found[kind].items():
            print(f"  {name}: {_value(old)} → {_value(new)}")


def print_change(done: Mapping[str, Any]) -> None:
    """Print a promotion or a roll back by hand."""
    verb = "promoted" if done["kind"] == "promotion" else "rolled back to"
    before = f", before it {done['previous']}" if done["previous"] else ""
    print(f"{verb} {done['bundle']} ({done['version']}){before}")


def _value(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M")

"""Print the share of executed lines by package, from the JSON report of coverage.py."""

import json
import sys
from collections import defaultdict
from pathlib import Path, PurePath


def main(report: str) -> None:
    """Print a line per package, and the total."""
    lines: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file, data in json.loads(Path(report).read_text(encoding="utf-8"))["files"].items():
        parts = PurePath(file).parts
        for package in (parts[1] if len(parts) > 2 else "(top)", "total"):
            lines[package][0] += data["summary"]["covered_lines"]
            lines[package][1] += data["summary"]["num_statements"]
    for package, (covered, count) in sorted(lines.items(), key=lambda item: item[0] == "total"):
        print(f"{package:<12} {covered / max(1, count):>6.1%} of {count:,} statements")


if __name__ == "__main__":
    main(sys.argv[1])

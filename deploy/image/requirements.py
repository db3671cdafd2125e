"""Print the part of requirements.lock that an image needs: vrec's own dependencies, with their hashes.

    python deploy/image/requirements.py --torch cpu requirements.lock > runtime.txt

The lock also has what develops and documents vrec. Which package needs which stands in its comments, which
uv writes. With `--torch cpu`, torch and the CUDA libraries are left out: deploy/image/torch-cpu.lock has
builds of the same versions for machines without a GPU.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = "vrec (pyproject.toml)"
"""Name of vrec in the comments of the lock, for what it needs to run."""
TORCH = ("torch", "torchaudio", "torchvision")
"""Packages that exist in a build for CPUs."""
CUDA = ("nvidia-", "cuda-", "triton")
"""Beginnings of the names of what only the other build needs."""
_PACKAGE = re.compile(r"^([a-z0-9][a-z0-9._-]*)==")


class LockedPackage(NamedTuple):
    """Entry of a lock. A package may have several, for different versions of Python."""

    name: str
    requirement: str
    """Version, marker and hashes, as pip reads them."""
    needed_by: frozenset[str]


def read_lock(text: str) -> list[LockedPackage]:
    """Return the entries of a lock.

    Raises:
        ValueError: It has something else than pinned packages.
    """
    packages = []
    for block in re.split(r"\n(?=[a-z0-9])", text.strip()):
        found, lines = _PACKAGE.match(block), block.splitlines()
        if found is None:
            raise ValueError(f"not an entry of a lock: {lines[0]}")
        comments = [
            line.strip("# ").removeprefix("via").strip() for line in lines if line.startswith("    #")
        ]
        requirement = "\n".join(line for line in lines if not line.startswith("    #"))
        packages.append(LockedPackage(found[1], requirement, frozenset(filter(None, comments))))
    return packages


def runtime_packages(packages: list[LockedPackage]) -> list[LockedPackage]:
    """Return the entries of vrec's dependencies and theirs, in the order of the lock."""
    found, grows = {ROOT}, True
    while grows:
        more = {package.name for package in packages if package.needed_by & found} - found
        found |= more
        grows = bool(more)
    return [package for package in packages if package.name in found]


def main(arguments: list[str]) -> None:
    """Print the requirements."""
    parser = argparse.ArgumentParser(description="Print the requirements of an image.")
    parser.add_argument("lock", type=Path)
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cuda")
    asked = parser.parse_args(arguments)
    packages = runtime_packages(read_lock(asked.lock.read_text(encoding="utf-8")))
    if asked.torch == "cpu":
        packages = [one for one in packages if one.name not in TORCH and not one.name.startswith(CUDA)]
    print("\n".join(package.requirement for package in packages))


if __name__ == "__main__":
    main(sys.argv[1:])

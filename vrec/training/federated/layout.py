"""Arrays by name as one vector, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from vrec.core.artifact import Arrays
from vrec.core.errors import FederatedError

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """Shapes of arrays by name, which lie in a vector in the order of their names."""

    shapes: Mapping[str, tuple[int, ...]]

    @property
    def length(self) -> int:
        """Number of numbers in all arrays."""
        return sum(prod(shape) for shape in self.shapes.values())

    def flatten(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Doubles:
        """Return the (length,) float64 vector of some arrays.

        Raises:
            FederatedError: Their names or shapes are others.
        """
        found = {name: array.shape for name, array in arrays.items()}
        if found != dict(self.shapes):
            names = sorted(set(found) ^ set(self.shapes)) or [
                name for name in sorted(found) if found[name] != self.shapes[name]
            ]
            raise FederatedError(
                f"arrays of another shape: {', '.join(f'{name} {found.get(name)}' for name in names[:3])}",
                fix="give all clients the same version, settings, VIDEOS and embeddings",
            )
        parts = [np.ravel(arrays[name]).astype(np.float64) for name in sorted(self.shapes)]
        return np.concatenate([np.empty(0), *parts])

    def unflatten(self, vector: Doubles) -> Arrays:
        """Return the arrays of a (length,) vector, float64."""
        arrays, start = {}, 0
        for name in sorted(self.shapes):
            stop = start + prod(self.shapes[name])
            arrays[name] = vector[start:stop].reshape(self.shapes[name])
            start = stop
        return arrays

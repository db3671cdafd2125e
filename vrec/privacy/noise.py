"""Gaussian noise in whole numbers, drawn from the operating system's generator."""

import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Counts = npt.NDArray[np.int64]
NormalSource = Callable[[int], npt.NDArray[np.float64]]
"""Function that returns (N,) independent standard normal numbers."""


def system_normals(count: int) -> npt.NDArray[np.float64]:
    """Return (count,) standard normal numbers from the operating system's generator.

    There is no seed: who knows a seed can subtract the noise. Each number has 64 random bits, one for its
    sign, so that the tail is exact to 9 standard deviations.
    """
    bits = np.frombuffer(os.urandom(8 * count), np.uint64)
    tail = ((bits >> np.uint64(1)).astype(np.float64) + 0.5) * 2.0**-64
    return np.where(bits & np.uint64(1), 1.0, -1.0) * -ndtri(tail)


def whole_noise(scale: float, count: int, normals: NormalSource) -> Counts:
    """Return (count,) normal numbers of standard deviation `scale`, each rounded to the nearest whole number.

    Added to whole numbers, it gives exactly what rounding the Gaussian mechanism's result would give, so that
    it is as private as that one, and the low bits of a float betray nothing (Mironov 2012).
    """
    return np.rint(normals(count) * scale).astype(np.int64)

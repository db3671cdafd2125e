"""Search space: the settings to vary and their distributions, read from YAML, sampled by Optuna."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from vrec.config.load import read_yaml, setting_keys
from vrec.config.patch import patch_settings, setting_value
from vrec.config.settings import Settings
from vrec.core.errors import ConfigError


def _choice(values: Sequence[Any]) -> BaseDistribution:
    # As JSON, since Optuna's choices are plain values, while a choice here may be a list of widths.
    return CategoricalDistribution([json.dumps(value) for value in values])


_KINDS: Mapping[str, Callable[[Any], BaseDistribution]] = {
    "uniform": lambda ends: FloatDistribution(float(ends[0]), float(ends[1])),
    "log_uniform": lambda ends: FloatDistribution(float(ends[0]), float(ends[1]), log=True),
    "int": lambda ends: IntDistribution(*ends),
    "log_int": lambda ends: IntDistribution(*ends, log=True),
    "choice": _choice,
}
_WANT = ", ".join(f"{{{kind}: [{'one, another' if kind == 'choice' else 'least, most'}]}}" for kind in _KINDS)


@dataclass(frozen=True, slots=True)
class SearchDimension:
    """One setting and its distribution."""

    key: str
    """Its dotted name."""
    kind: str
    """`uniform`, `log_uniform`, `int`, `log_int` or `choice`."""
    distribution: BaseDistribution

    def value(self, drawn: Any) -> Any:
        """Return the setting's value for Optuna's draw."""
        return json.loads(drawn) if self.kind == "choice" else drawn

    def drawn(self, value: Any) -> Any | None:
        """Return Optuna's draw for a setting's value, None where it lies outside the distribution."""
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                choice = json.dumps(value)
                return choice if choice in choices else None
            case FloatDistribution(low=low, high=high) | IntDistribution(low=low, high=high):
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                return value if is_number and low <= value <= high else None
        raise AssertionError(self.distribution)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Settings that a sweep varies."""

    dimensions: Mapping[str, SearchDimension]
    """By dotted name."""

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions by dotted name."""
        return {key: dimension.distribution for key, dimension in self.dimensions.items()}

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings' values for Optuna's draws."""
        return {key: self.dimensions[key].value(value) for key, value in drawn.items()}

    def drawn(self, settings: Settings) -> dict[str, Any] | None:
        """Return Optuna's draws for the settings, None where one lies outside its distribution."""
        draws = {key: d.drawn(setting_value(settings, key)) for key, d in self.dimensions.items()}
        return None if None in draws.values() else draws


def read_search_space(uri: str | os.PathLike[str], settings: Settings, tunable: Sequence[str]) -> SearchSpace:
    """Read the space from a YAML file: dotted names of settings, each with `{uniform: [0, 1]}` or the like.

    Args:
        uri: path or URI of the file.
        settings: the settings as given.
        tunable: groups of settings, or settings, that affect a trial.

    Raises:
        ConfigError: names every key that is not a setting, with the nearest one; that no trial follows; or
            that has no valid distribution.
    """
    dimensions, errors = {}, []
    known = set(setting_keys())
    for key, distribution in _read(uri).items():
        try:
            _check_key(str(key), settings, known, tunable)
            dimensions[key] = _dimension(str(key), distribution)
            _check_values(dimensions[key], settings)
        except ConfigError as error:
            errors.append(str(error))
    if errors:
        raise ConfigError(f"{uri}: {'; '.join(errors)}", fix="correct the space; docs/tuning.md shows one")
    if not dimensions:
        raise ConfigError(f"{uri} varies nothing", fix="give a setting such as retrieval.als.factors")
    return SearchSpace(dimensions)


def _read(uri: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        return read_yaml(uri, "retrieval.als.factors: {int: [16, 128]}")
    except ConfigError as error:
        raise ConfigError(str(error), fix="correct the space; docs/tuning.md shows one") from None


def _check_key(key: str, settings: Settings, known: set[str], tunable: Sequence[str]) -> None:
    if key not in known:
        patch_settings(settings, {key: None})
        raise ConfigError(f"{key}: unknown")
    if any(other.startswith(f"{key}.") for other in known):
        raise ConfigError(f"{key}: a group of settings, give one of them")
    if not any(key == one or key.startswith(f"{one}.") for one in tunable):
        raise ConfigError(f"{key}: no trial follows it; it may vary {', '.join(tunable)}")


def _check_values(dimension: SearchDimension, settings: Settings) -> None:
    """Check each value that can be drawn and listed: those of a choice, and both ends of whole numbers.

    Raises ConfigError with every value that the setting itself refuses. What several settings refuse together
    is left to the trials, which vary them together.
    """
    match dimension.distribution:
        case CategoricalDistribution(choices=choices):
            values = [dimension.value(choice) for choice in choices]
        case IntDistribution(low=low, high=high):
            values = [low, high]
        case _:
            return
    problems = []
    for value in values:
        try:
            patch_settings(settings, {dimension.key: value})
        except ConfigError as error:
            # A wrong kind is an error of its group.
            own = dimension.key.removesuffix(".kind")
            problems += [str(error)] if str(error).startswith(own) else []
    if problems:
        raise ConfigError("; ".join(problems))


def _dimension(key: str, given: Any) -> SearchDimension:
    if not isinstance(given, dict) or len(given) != 1 or (kind := next(iter(given))) not in _KINDS:
        raise ConfigError(f"{key}: {given!r} is no distribution, want one of {_WANT}")
    values = given[kind]
    if not isinstance(values, list) or not values or (kind != "choice" and len(values) != 2):
        raise ConfigError(f"{key}: {kind}: {values!r}, want [{'least, most' if kind != 'choice' else '…'}]")
    numbers = int if kind in {"int", "log_int"} else int | float
    if kind != "choice" and not all(isinstance(v, numbers) and not isinstance(v, bool) for v in values):
        raise ConfigError(f"{key}: {kind}: {values!r}: want numbers, such as 0.001 (YAML reads 1e-3 as text)")
    try:
        return SearchDimension(key, kind, _KINDS[kind](values))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key}: {kind}: {' '.join(str(error).split())}") from None

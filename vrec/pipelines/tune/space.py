"""A space of settings: which are varied, and between what. Read from YAML, drawn from by Optuna."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    # As JSON, since Optuna takes plain values only, and a list of widths is one choice here.
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
    """One setting and the values that it may take."""

    key: str
    """Its dotted name."""
    kind: str
    """`uniform`, `log_uniform`, `int`, `log_int` or `choice`."""
    distribution: BaseDistribution

    def value(self, drawn: Any) -> Any:
        """The setting's value for what Optuna drew."""
        return json.loads(drawn) if self.kind == "choice" else drawn

    def drawn(self, value: Any) -> Any | None:
        """What Optuna would draw to give this value; None where it never would."""
        match self.distribution:
            case CategoricalDistribution(choices=choices):
                found = json.dumps(value)
                return found if found in choices else None
            case FloatDistribution(low=low, high=high) | IntDistribution(low=low, high=high):
                number = isinstance(value, int | float) and not isinstance(value, bool)
                return value if number and low <= value <= high else None
        raise AssertionError(self.distribution)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The settings that a sweep varies."""

    dimensions: Mapping[str, SearchDimension]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """By dotted name, as Optuna takes them."""
        return {key: dimension.distribution for key, dimension in self.dimensions.items()}

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The settings' values for what Optuna drew."""
        return {key: self.dimensions[key].value(value) for key, value in drawn.items()}

    def drawn(self, settings: Settings) -> dict[str, Any] | None:
        """What Optuna would draw to give these settings; None where it never would."""
        found = {key: d.drawn(setting_value(settings, key)) for key, d in self.dimensions.items()}
        return None if None in found.values() else found


def read_search_space(path: Path, settings: Settings, tunable: Sequence[str]) -> SearchSpace:
    """The space in a YAML file: dotted names of settings, each with `{uniform: [0, 1]}` or the like.

    `follows` are the groups of settings, or settings, that a trial follows. Raises ConfigError that names
    every key that is no setting, with the nearest that is; that a trial does not follow; or that has no
    distribution.
    """
    found, wrong = {}, []
    known = set(setting_keys())
    for key, given in read_yaml(path).items():
        try:
            _check_key(str(key), settings, known, tunable)
            found[key] = _dimension(str(key), given)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError(f"{path}: {'; '.join(wrong)}", fix="correct the space; docs/tuning.md shows one")
    if not found:
        raise ConfigError(f"{path} varies nothing", fix="give a setting such as retrieval.als.factors")
    return SearchSpace(found)


def _check_key(key: str, settings: Settings, known: set[str], follows: Sequence[str]) -> None:
    if key not in known:
        patch_settings(settings, {key: None})
        raise ConfigError(f"{key}: unknown")
    if any(other.startswith(f"{key}.") for other in known):
        raise ConfigError(f"{key}: a group of settings, give one of them")
    if not any(key == one or key.startswith(f"{one}.") for one in follows):
        raise ConfigError(f"{key}: no trial follows it; it may vary {', '.join(follows)}")


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

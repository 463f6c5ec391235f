"""Which compressor a parameter or a stage boundary gets: by what it is, how large it is and how it is called."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal

from ..errors import InputError
from .compressor import Compressor
from .compressors.cast import Identity

Role = Literal["gradient", "activation", "activation_gradient", "weight"]
ROLES: Final = ("gradient", "activation", "activation_gradient", "weight")
_HOME: Final = __name__.rpartition(".")[0]
_AS_IT_IS: Final = Identity()


@dataclass(frozen=True)
class Rule:
    """`compressor` for everything that meets all the conditions.

    pattern    a regular expression that is found in the name ("" is found in each)
    role       what the vector is; None for any
    min_numel  the least number of values; `max_numel` the most, None for no limit
    """

    compressor: Compressor
    pattern: str = ""
    role: Role | None = None
    min_numel: int = 0
    max_numel: int | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise InputError(f"{self.pattern!r} isn't a regular expression: {error}") from None
        if self.role is not None and self.role not in ROLES:
            raise InputError(f"no role {self.role!r}; known are {', '.join(ROLES)}")

    def meets(self, name: str, numel: int, role: Role) -> bool:
        """Whether the rule is for a vector of `numel` values."""
        most = math.inf if self.max_numel is None else self.max_numel
        sized = self.min_numel <= numel <= most
        return sized and self.role in {None, role} and re.search(self.pattern, name) is not None


@dataclass(frozen=True)
class Policy:
    """The first of `rules` that is met decides; without one, `default` from `min_numel` values on, else `small`.

    Equal policies have equal fingerprints, which ranks compare before they talk.
    """

    default: Compressor
    rules: Sequence[Rule] = ()
    min_numel: int = 0
    small: Compressor = _AS_IT_IS

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))

    def compressor(self, name: str, numel: int, role: Role = "gradient") -> Compressor:
        """The compressor of a vector of `numel` values."""
        for rule in self.rules:
            if rule.meets(name, numel, role):
                return rule.compressor
        return self.default if numel >= self.min_numel else self.small

    @property
    def names_matter(self) -> bool:
        """Whether a rule looks at names."""
        return any(rule.pattern for rule in self.rules)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` makes an equal policy of it."""
        rules = [
            {"compressor": _described(r.compressor), "pattern": r.pattern, "role": r.role}
            | {"min_numel": r.min_numel, "max_numel": r.max_numel}
            for r in self.rules
        ]
        ends = {"default": _described(self.default), "small": _described(self.small)}
        return ends | {"min_numel": self.min_numel, "rules": rules}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Policy:
        """Raises InputError for anything that `to_dict` can't have made."""
        try:
            rules = [Rule(**{**rule, "compressor": _built(rule["compressor"])}) for rule in data["rules"]]
            ends = [_built(data[key]) for key in ("default", "small")]
            return cls(ends[0], rules, int(data["min_numel"]), ends[1])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this isn't a policy: {error!r}") from None

    def fingerprint(self) -> str:
        """Sixteen hex digits."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


def policy_of(given: Policy | Compressor) -> Policy:
    """A compressor alone is a policy too. Raises InputError for anything else."""
    if isinstance(given, Policy):
        return given
    if isinstance(given, Compressor):
        return Policy(given)
    raise InputError(f"a policy or a compressor is wanted, not {type(given).__name__}")


def _described(compressor: Compressor) -> dict[str, Any]:
    kind = type(compressor)
    return {"class": f"{kind.__module__}:{kind.__qualname__}", **compressor.config()}


def _built(data: Mapping[str, Any]) -> Compressor:
    """Only classes of this package are looked up: a policy's text must not import what it likes."""
    fields = dict(data)
    module, _, name = str(fields.pop("class")).partition(":")
    kind = getattr(import_module(module), name, None) if module.startswith(f"{_HOME}.") else None
    if not (isinstance(kind, type) and issubclass(kind, Compressor)):
        raise InputError(f"{module}:{name} is no compressor of netweight: build the policy in Python")
    return kind(**fields)

"""Reading the file of a peer so that nothing in it is lost in silence.

Every mapping is read key by key; whatever nobody asked for is reported with its path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from checks import CHECKS
from checks.web.request import METHODS
from config.plugins import adapter
from config.values import NAME_CHARS_MAX, slug, written_duration

FILE_BYTES_MAX = 8_388_608
NOT_KNOWN = "this importer does not know it"
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_REFERENCE = re.compile(r"(?<!\$)\$\{\w+\}")

T = TypeVar("T")
Keys = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """What the peers' library makes of a plain scalar: `off` is a text, and so is a date."""


_SCALARS = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _SCALARS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


class NoEquivalent(Exception):
    """Why something of the peer cannot be said here."""


@dataclass(frozen=True, slots=True)
class Left:
    """What has no equivalent: its path in the peer's file, and why."""

    path: str
    why: str


@dataclass(slots=True)
class Imported:
    """A configuration as it will be written, and what it leaves out."""

    configuration: Keys = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)

    def put(self, service: str, name: str, check: Keys) -> None:
        """Add a check under names that configuration accepts; a taken one gets a number."""
        services = self.configuration.setdefault("services", {})
        checks = services.setdefault(slug(service), {"checks": {}})["checks"]
        wanted = slug(name)
        taken, n = wanted, 2
        while taken in checks:
            taken, n = f"{wanted[: NAME_CHARS_MAX - 4]}-{n}", n + 1
        checks[taken] = check


class Part:
    """One mapping of the peer's file."""

    def __init__(self, value: Any, path: str, left: list[Left]) -> None:
        self.path = path
        self._left = left
        self._rest: Keys = {}
        if isinstance(value, Mapping):
            self._rest = {str(key): item for key, item in value.items()}
        elif value is not None:
            self.leave("", "not a mapping")

    def take(self, key: str, kind: type[T]) -> T | None:
        """The value of a key, None if it is not there or of another type (which is reported)."""
        value = self._rest.pop(key, None)
        if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None or isinstance(value, kind):
            return value
        self.leave(key, f"not what is expected here ({kind.__name__})")
        return None

    def part(self, key: str) -> Part:
        """The mapping below a key; an empty one if it is not there."""
        return Part(self._rest.pop(key, None), self._below(key), self._left)

    def parts(self, key: str) -> list[Part]:
        """The mappings in the list below a key."""
        items = self.take(key, list) or []
        return [Part(item, f"{self._below(key)}[{n}]", self._left) for n, item in enumerate(items)]

    def named(self) -> list[tuple[str, Part]]:
        """Every mapping below, by its name; nothing remains."""
        names = list(self._rest)
        return [(name, self.part(name)) for name in names]

    def keys(self) -> list[str]:
        """The keys that nobody took yet."""
        return list(self._rest)

    def texts(self, key: str) -> list[str]:
        """The list of texts below a key."""
        return [str(item) for item in self.take(key, list) or []]

    def leave(self, key: str, why: str) -> None:
        """Report one key, or the whole with an empty one."""
        self._left.append(Left(self._below(key) if key else self.path, why))

    def leave_rest(self, reasons: Mapping[str, str] | None = None) -> None:
        """Report every key that nobody took, unless it is empty or false."""
        for key, value in self._rest.items():
            if value not in (None, False, "", 0, [], {}):
                self.leave(key, (reasons or {}).get(key, NOT_KNOWN))
        self._rest.clear()

    def _below(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def document(text: str) -> Any:
    """What a YAML text holds; raises NoEquivalent for one that is none or too large."""
    if len(text) > FILE_BYTES_MAX:
        raise NoEquivalent(f"larger than {FILE_BYTES_MAX} bytes")
    try:
        # A safe loader with fewer kinds of scalars.
        return yaml.load(text, _Loader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        raise NoEquivalent(f"not YAML: {' '.join(str(error).split())[:300]}") from None


def go_seconds(text: str) -> float:
    """Seconds of a duration as Go writes it (`1m30s`, `300ms`); raises NoEquivalent."""
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+", text):
        raise NoEquivalent(f"`{text}` is not a duration")
    found = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    return float(sum(float(number) * _UNITS_S[unit] for number, unit in found))


def duration_of(part: Part, key: str, default_s: float) -> str:
    """The duration below a key as configuration writes it."""
    text = part.take(key, str)
    try:
        return written_duration(default_s if text is None else go_seconds(text))
    except NoEquivalent as error:
        part.leave(key, f"{error}; {written_duration(default_s)} is used")
        return written_duration(default_s)


def address(url: str) -> Keys:
    """`host` and `port` of a URL, as the kinds have them; raises NoEquivalent."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise NoEquivalent("this names no host and port")
    return {"host": host, "port": port}


def method_key(method: str | None) -> str:
    """The key of kind http that a method's URL stands under; raises NoEquivalent."""
    key = (method or "get").lower()
    if key not in METHODS:
        raise NoEquivalent(f"requests by {method} are not sent; methods: {', '.join(METHODS).upper()}")
    return key


def complaint(check: Keys) -> str | None:
    """What the kind says against these keys, None if it takes them; references stand for any value."""
    own = {key: value for key, value in check.items() if key not in ("kind", "every", "timeout")}
    cls: Any = CHECKS[check["kind"]]
    try:
        adapter(cls).validate_python(_stand_in(own))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return str(first["msg"]).removeprefix("Value error, ")
    return None


def _stand_in(value: Any) -> Any:
    match value:
        case str():
            return _REFERENCE.sub("x", re.sub(r"^\$\{\w+\}", "https://x", value))
        case dict():
            return {key: _stand_in(item) for key, item in value.items()}
        case list():
            return [_stand_in(item) for item in value]
    return value

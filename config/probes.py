"""Modules of `/probe`: checks whose target a caller names, within what each module allows.

A caller chooses nothing but the target, and a target is written so plainly that no two parsers can read two
hosts in it: a scheme, a host of letters, digits, dots and dashes (or an IPv6 address), a port, and a path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from config.plugins import adapter

_TARGET = re.compile(
    r"(?:(?P<scheme>[a-z]{2,5})://)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<rest>[/?][!-\[\]-z|~]{0,2000})?"
)
_ALLOWED = re.compile(
    r"(?:(?P<scheme>[a-z]{2,5})://)?(?P<wild>\*\.)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}|\*))?"
)
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_PLACE = re.compile(r"\{(target|host|port)\}")


class Refused(Exception):
    """Why a module does not probe this target; holds nothing of the configuration but the module's kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a caller names. text: the whole. port: the scheme's where none is written, None without one."""

    text: str
    scheme: str | None
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of `targets`: `https://shop.example`, `*.shop.example:443` (hosts below it), `10.0.0.7:*`."""

    scheme: str | None
    host: str
    is_wild: bool
    port: int | None
    is_any_port: bool

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """Raises ValueError."""
        found = _ALLOWED.fullmatch(text)
        port = None if found is None or found["port"] in (None, "*") else int(found["port"])
        if found is None or (port is not None and not 1 <= port <= 65535):
            raise ValueError(
                f"`{text}` allows nothing; write https://shop.example, *.shop.example:443 or host:*"
            )
        scheme = found["scheme"]
        if scheme is not None and scheme not in _PORTS:
            raise ValueError(f"`{text}`: schemes are {', '.join(_PORTS)}; write host:port without one")
        if scheme is None and found["port"] is None:
            raise ValueError(
                f"`{text}` has neither scheme nor port; write {text}:443, {text}:* or https://{text}"
            )
        return cls(
            scheme,
            found["host"].lower(),
            found["wild"] is not None,
            port if port is not None or scheme is None else _PORTS[scheme],
            found["port"] == "*",
        )

    def allows(self, target: Target) -> bool:
        """True for the scheme, the host and the port, all three."""
        is_host = target.host.endswith(f".{self.host}") if self.is_wild else target.host == self.host
        is_port = self.is_any_port or (target.port is not None and target.port == self.port)
        return is_host and is_port and target.scheme == self.scheme

    def example(self) -> str:
        """A target that it allows."""
        port = 443 if self.port is None else self.port
        return f"{self.scheme + '://' if self.scheme else ''}{'x.' if self.is_wild else ''}{self.host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module. keys: those of the kind as configured, secrets in clear, `{target}` not filled in."""

    kind: str
    targets: tuple[Allowed, ...]
    timeout_s: float
    cls: Any
    keys: Mapping[str, Any] = field(repr=False)

    def check(self, text: str) -> Any:
        """A check of this target; raises Refused for one that is not allowed or that the kind cannot take."""
        target = read_target(text if "://" in text else f"{self._scheme()}{text}")
        if not any(allowed.allows(target) for allowed in self.targets):
            raise Refused(
                "This target is not allowed. Add its scheme, host and port to targets of the module."
            )
        try:
            return adapter(self.cls).validate_python(filled(self.keys, target))
        except ValidationError:
            raise Refused(f"Kind {self.kind} cannot take this target.") from None

    def _scheme(self) -> str:
        """Without a scheme http is meant, as with blackbox_exporter, where the module takes URLs at all."""
        return "http://" if any(allowed.scheme in ("http", "https") for allowed in self.targets) else ""


def read_target(text: str) -> Target:
    """Raises Refused."""
    found = _TARGET.fullmatch(text)
    if found is None:
        raise Refused(
            "This is not a target. Send https://host:port/path or host:port, without user or spaces."
        )
    scheme = found["scheme"]
    port = int(found["port"]) if found["port"] else _PORTS.get(scheme or "")
    if port is not None and not 1 <= port <= 65535:
        raise Refused("This target's port is none. Send 1 to 65535.")
    if scheme is None and found["rest"]:
        raise Refused("This target has a path but no scheme. Send https://host/path.")
    return Target(text=text, scheme=scheme, host=found["host"].lower(), port=port)


def filled(value: Any, target: Target) -> Any:
    """The same keys with `{target}`, `{host}` and `{port}` filled in; `{port}` alone becomes a number."""
    parts = {"target": target.text, "host": target.host.strip("[]"), "port": str(target.port)}
    match value:
        case "{port}":
            return target.port
        case str():
            return _PLACE.sub(lambda found: parts[found[1]], value)
        case Mapping():
            return {key: filled(inner, target) for key, inner in value.items()}
        case list():
            return [filled(inner, target) for inner in value]
    return value


def names_target(value: Any) -> bool:
    """True if a caller's choice reaches these keys at all."""
    match value:
        case str():
            return re.search(r"\{(?:target|host)\}", value) is not None
        case Mapping():
            return any(names_target(inner) for inner in value.values())
        case list():
            return any(names_target(inner) for inner in value)
    return False

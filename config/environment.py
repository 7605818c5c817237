"""Overrides from the environment: `WATCHDOG__API__LISTEN=...` replaces `api.listen`, whatever a file says.

pydantic-settings takes the names apart; the tree is changed before validation, so that an override and a
file are checked by the same rules. A dash in a name is written `_`: WATCHDOG__CHANNELS__ON_CALL__ROUTING_KEY.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from config.errors import Problem
from config.reading import Keys, Mark, Tree

FILE = "environment"


class _Source(EnvSettingsSource):
    """The library's reader of variables, over a mapping that was handed in."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(settings_cls, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}


def override(tree: Tree, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> list[Problem]:
    """Put every override into the tree, in place; returns what cannot be one."""
    prefix = str(settings_cls.model_config.get("env_prefix", ""))
    ours = {name: value for name, value in environ.items() if name.upper().startswith(prefix)}
    problems = []
    for name, value in sorted(ours.items()):
        section = name[len(prefix) :].split("__")[0].lower()
        if section not in settings_cls.model_fields:
            problems.append(
                Problem(
                    code="unknown-key",
                    message=f"environment variable {name} overrides nothing: no section is `{section}`.",
                    path=section,
                    file=FILE,
                    help=f"sections: {', '.join(settings_cls.model_fields)}",
                )
            )
            continue
        try:
            change = _Source(settings_cls, {name: value})()
        except SettingsError:
            # The library's text may hold the value, which may be a secret.
            problems.append(
                Problem(
                    code="bad-value",
                    message=f"environment variable {name} is neither text for a key nor JSON for a section.",
                    path=section,
                    file=FILE,
                )
            )
            continue
        _merge(tree, tree.value, change, (), name)
    return problems


def _merge(tree: Tree, into: dict[str, Any], change: Mapping[str, Any], path: Keys, variable: str) -> None:
    for key, value in change.items():
        name = key if key in into or key.replace("_", "-") not in into else key.replace("_", "-")
        here = (*path, name)
        # Which types plug-ins expect is known later; JSON stands for the lists and mappings among them.
        value = _decoded(value)
        if not (isinstance(value, dict) and isinstance(into.get(name), dict)):
            into[name] = {} if isinstance(value, dict) else value
            for marks in (tree.keys, tree.values):
                for old in [known for known in marks if known[: len(here)] == here]:
                    del marks[old]
            tree.keys[here] = tree.values[here] = Mark(f"{FILE} {variable}", 0, 0)
        if isinstance(value, dict):
            _merge(tree, into[name], value, here, variable)


def _decoded(value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return decoded

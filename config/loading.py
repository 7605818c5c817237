"""From files and environment to settings and built plug-ins, or to everything that is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from config import environment, plugins
from config.errors import ConfigError, Problem, in_order
from config.masking import digest, looks_secret, masked, presentable, without_secrets
from config.messages import did_you_mean, empty, holds, problem_of, short, unknown_key, value_at
from config.probes import Allowed, Module, filled, names_target, read_target
from config.reading import Keys, Tree, dotted, read
from config.references import is_reference, resolve
from config.rules import broken_rules
from config.schema import CheckCommon, Kinds, ProbeModule, Settings
from config.shape import empty_paths, fields_of, secret_paths, texts

_MODULES: Keys = ("probe", "modules")
_SECTIONS = ("sources", "databases", "targets", "channels")
_CHECK_KEYS = tuple(fields_of(CheckCommon))
_MODULE_KEYS = tuple(fields_of(ProbeModule))
# Codes of what a class refuses in `__post_init__`.
_SAID_BY_CLASS = frozenset({"bad-value", "bad-expression"})
_UNRESOLVED = frozenset({"secret-missing", "bad-reference"})
# Codes that say something is not there, which another problem may explain.
_CONSEQUENCES = frozenset({"missing-key", "undecided", "two-selectors", "no-target", "nothing-to-watch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration without errors.

    sources, databases, targets, channels: built plug-ins by name. checks: by (service, check).
    modules: those of `/probe`, by name.
    digest: 12 hex digits over everything but the values of secrets and references; equal digests mean the
    same configuration. warnings: what is allowed but doubtful.
    """

    settings: Settings
    sources: Mapping[str, Any]
    databases: Mapping[str, Any]
    targets: Mapping[str, Any]
    channels: Mapping[str, Any]
    checks: Mapping[tuple[str, str], Any]
    modules: Mapping[str, Module]
    digest: str
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One plug-in section: where it stands, its class, and which of its keys are the class's own."""

    path: Keys
    cls: Any
    own: Mapping[str, Any]
    common: tuple[str, ...]


def load(paths: Sequence[Path], kinds: Kinds, environ: Mapping[str, str] | None = None) -> Loaded:
    """Read, merge, override, resolve, check and build.

    paths: files or folders. kinds: section to kind to class. environ: os.environ if None.
    Raises ConfigError with every error there is, not only the first.
    """
    environ = os.environ if environ is None else environ
    tree, problems = read(paths)
    problems += environment.override(tree, Settings, environ)
    references = resolve(tree, environ)
    problems += references.problems
    entries = _entries(tree, kinds, problems)
    secret = _secret_paths(tree, entries)
    hidden = references.paths | secret
    built = {entry.path: _built(entry, tree, problems) for entry in entries}
    settings = _settings(tree, entries, hidden, problems)
    problems += [empty(path, tree) for path in empty_paths(Settings, tree.value)]
    problems += broken_rules(settings, tree)
    problems += _secrets_in_files(tree, secret - references.paths)
    # Where a reference leads nowhere there is no secret, only its name.
    known_secrets = references.secrets | {
        text for path in secret for text in texts(value_at(tree.value, path)) if not is_reference(text)
    }
    cleaned = without_secrets(_unexplained(problems), known_secrets)
    errors = [problem for problem in cleaned if problem.severity == "error"]
    warnings = in_order([problem for problem in cleaned if problem.severity == "warning"])
    if errors:
        raise ConfigError(errors, warnings)
    sections = {
        section: {str(path[1]): plugin for path, plugin in built.items() if path[0] == section}
        for section in _SECTIONS
    }
    return Loaded(
        settings=settings,
        checks={(str(p[1]), str(p[3])): plugin for p, plugin in built.items() if p[0] == "services"},
        modules={str(e.path[2]): _module(e, settings) for e in entries if e.path[:2] == _MODULES},
        digest=digest(masked(tree.value, hidden)),
        warnings=warnings,
        **sections,
    )


def _entries(tree: Tree, kinds: Kinds, problems: list[Problem]) -> list[_Entry]:
    """Every plug-in section of a known kind; an unknown kind is a problem, a missing one is found later."""
    places: list[tuple[Keys, str, Any]] = [
        ((section, name), section, entry)
        for section in _SECTIONS
        for name, entry in _items(tree.value.get(section))
    ]
    places += [
        (("services", service, "checks", name), "checks", entry)
        for service, body in _items(tree.value.get("services"))
        for name, entry in _items(value_at(body, ("checks",)))
    ]
    modules = value_at(tree.value, _MODULES)
    places += [((*_MODULES, name), "modules", entry) for name, entry in _items(modules)]
    entries = []
    for path, section, entry in places:
        kind = value_at(entry, ("kind",))
        if not isinstance(kind, str):
            continue
        known = kinds.get(section, {})
        if kind not in known:
            problems.append(
                tree.problem(
                    "unknown-kind",
                    f"{short(path)}: there is no kind `{kind}` here. Kinds: {', '.join(sorted(known))}.",
                    (*path, "kind"),
                    on_value=True,
                    hint=did_you_mean(kind, known),
                )
            )
            continue
        common = {"checks": _CHECK_KEYS, "modules": _MODULE_KEYS}.get(section, ("kind",))
        own_keys = plugins.keys_of(known[kind])
        own = {key: value for key, value in entry.items() if key not in common or key in own_keys}
        entries.append(_Entry(path, known[kind], own, common))
    return entries


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else ()


def _secret_paths(tree: Tree, entries: Iterable[_Entry]) -> set[Keys]:
    """Paths of every value that a type declares secret."""
    found = set(secret_paths(Settings, tree.value))
    for entry in entries:
        found.update(secret_paths(plugins.shape_of(entry.cls), entry.own, entry.path))
    return found


def _module(entry: _Entry, settings: Settings) -> Module:
    said = settings.probe.modules[str(entry.path[-1])]
    targets = tuple(Allowed.parse(text) for text in said.targets)
    return Module(kind=said.kind, targets=targets, timeout_s=said.timeout, cls=entry.cls, keys=entry.own)


def _with_example(entry: _Entry, tree: Tree, problems: list[Problem]) -> _Entry:
    """The entry of a module as it would be for the first target it allows; any other entry as it is."""
    if entry.path[:2] != _MODULES:
        return entry
    if not names_target(entry.own):
        problems.append(
            tree.problem(
                "no-target-place",
                f"{short(entry.path)}: no key holds {{target}} or {{host}}: every target would be the same.",
                entry.path,
                remedy='write get: "{target}", or host: "{host}" and port: "{port}"',
            )
        )
    allowed = value_at(tree.value, (*entry.path, "targets"))
    first = allowed[0] if isinstance(allowed, list) and allowed and isinstance(allowed[0], str) else ""
    try:
        example = Allowed.parse(first).example()
    except ValueError:
        # Its own problem is found with the settings.
        example = "https://shop.example:443"
    return replace(entry, own=filled(entry.own, read_target(example)))


def _built(entry: _Entry, tree: Tree, problems: list[Problem]) -> Any:
    """The plug-in of an entry, None if it cannot be built."""
    entry = _with_example(entry, tree, problems)
    shape = plugins.shape_of(entry.cls)
    problems += [empty(path, tree) for path in empty_paths(shape, entry.own, entry.path)]
    validate = plugins.adapter(entry.cls).validate_python
    try:
        return validate(entry.own)
    except ValidationError as error:
        found = _translated(error, entry.path, shape, tree, entry.common)
        remaining = masked(entry.own, ())
        for loc in _locs(error):
            _prune(remaining, loc)
    # The class speaks only once its fields have their types: ask it again without what has not.
    try:
        validate(remaining)
    except ValidationError as error:
        places = {problem.path for problem in found}
        said = _translated(error, entry.path, shape, tree, entry.common)
        # What it misses may only have been taken out: it is believed about keys that are there, whole.
        written = {dotted(path) for path in tree.values if path != entry.path} - places
        whole = {path for path in written if not any(_is_inside(place, path) for place in places)}
        found += [p for p in said if p.code in _SAID_BY_CLASS and p.path in whole]
    problems += found
    return None


def _locs(error: ValidationError) -> set[tuple[int | str, ...]]:
    return {details["loc"] for details in error.errors(include_url=False)}


def _settings(tree: Tree, entries: Iterable[_Entry], hidden: set[Keys], problems: list[Problem]) -> Settings:
    """The settings; where something is wrong, those of what remains without it, for the rules to look at."""
    # Plug-ins were given their secrets; what the settings keep of their keys is for showing only.
    inside = {
        path
        for path in hidden
        for entry in entries
        if path[: len(entry.path)] == entry.path and path[len(entry.path)] in entry.own
    }
    value = masked(tree.value, inside)
    for entry in entries:
        keys = value_at(value, entry.path)
        keys |= {key: presentable(keys[key]) for key in entry.own}
    for key in [key for key in value if key not in Settings.model_fields]:
        problems.append(unknown_key((key,), Settings.model_fields, tree))
        del value[key]
    is_first = True
    while True:
        try:
            return Settings(**value)
        except ValidationError as error:
            if is_first:
                problems += _translated(error, (), Settings, tree, ())
            is_first = False
            for loc in _locs(error):
                _prune(value, loc)


def _prune(value: dict[str, Any], loc: tuple[int | str, ...]) -> None:
    """Remove the innermost mapping entry that an error lies in; every call removes one or finds it gone."""
    holder: dict[str, Any] | None = None
    last = ""
    here: Any = value
    for part in loc:
        if not holds(here, part):
            continue
        if isinstance(here, dict):
            holder, last = here, str(part)
        here = here[part]
    if holder is not None:
        del holder[last]


def _translated(
    error: ValidationError, prefix: Keys, shape: Any, tree: Tree, common: tuple[str, ...]
) -> list[Problem]:
    """One problem per path: the members of a union that did not match say the same thing many times."""
    by_path: dict[str, Problem] = {}
    for details in error.errors(include_url=False):
        problem = problem_of(details, prefix, shape, tree, common)
        known = by_path.get(problem.path)
        if known is None or known.code == "bad-value":
            by_path[problem.path] = problem
    return list(by_path.values())


def _secrets_in_files(tree: Tree, paths: Iterable[Keys]) -> list[Problem]:
    problems = []
    for path in paths:
        mark = tree.values.get(path)
        if mark is None or mark.file.startswith(environment.FILE):
            continue
        # All headers are held as secrets, but `Accept: text/html` may stand in a file.
        if path[-2] == "headers" and not looks_secret(str(path[-1])):
            continue
        problem = tree.problem(
            "secret-in-file",
            f"{dotted(path)} holds a secret in clear text. Move it to an environment variable or a file.",
            path,
            remedy="write ${NAME} or file:/path",
        )
        problems.append(replace(problem, severity="warning"))
    return problems


def _unexplained(problems: Collection[Problem]) -> list[Problem]:
    """Without what only follows from another error: a misspelt key is also a missing one."""
    errors = [problem for problem in problems if problem.severity == "error"]
    # What a plug-in says of the name of a reference says nothing of the value.
    unresolved = {problem.path for problem in problems if problem.code in _UNRESOLVED}
    return [
        problem
        for problem in problems
        if (problem.path not in unresolved or problem.code in _UNRESOLVED)
        and (problem.code not in _CONSEQUENCES or not any(_explains(other, problem) for other in errors))
    ]


def _explains(cause: Problem, effect: Problem) -> bool:
    if cause is effect:
        return False
    parent, _, key = effect.path.rpartition(".")
    is_misspelt = cause.path.rpartition(".")[0] == parent and cause.hint == f"did you mean `{key}`?"
    is_inside = _is_inside(cause.path, effect.path)
    return is_misspelt or is_inside or (cause.path == effect.path and cause.code not in _CONSEQUENCES)


def _is_inside(place: str, path: str) -> bool:
    return place.startswith((f"{path}.", f"{path}["))

"""A first configuration as a person reads it: YAML with a reason at every series.

Label values come from whoever writes metrics; nothing of them may become a key or a reference.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from checks.text import one_line
from config.values import written_duration
from watchdog.discovery.proposing import Proposed, ProposedService

_COMMENT_CHARS_MAX = 300
_LEFT_MAX = 50

_HEAD = """\
# Proposed by `deploy-watchdog init` from what {shown} holds. Read it, and take out what is no symptom.
# It says what it would do and sends nothing (mode observe). Next:
#   deploy-watchdog validate -c FILE --online     does each query find its series
#   deploy-watchdog backtest -c FILE --since 7d   what it would have said in the past
#   deploy-watchdog run -c FILE
version: 1
"""
_TAIL = """\
# What metrics cannot tell, a check can; docs/configuration.md has every kind. In a service:
#   checks:
#     home: {kind: http, get: "https://shop.example/", expect: status == 200}
# Where alerts go:
# channels:
#   team: {kind: slack, webhook: "${SLACK_WEBHOOK}"}
"""


def sources(keys: Mapping[str, object]) -> str:
    """The section `sources` with one Prometheus; its values are written as given, references included."""
    return f"sources:\n  prom: {_flow(keys)}\n"


def configuration(shown: str, keys: Mapping[str, object], proposed: Proposed) -> str:
    """The whole file. shown: the address of the Prometheus. keys: its section."""
    parts = [_HEAD.format(shown=_safe(shown)), sources(keys), "defaults: {mode: observe}\nservices:\n"]
    parts += [_service(service) for service in proposed.services]
    parts.append(_TAIL)
    if proposed.left:
        parts.append("# Not proposed:\n")
        parts += [_comment(f"- {left.what}: {left.why}") for left in proposed.left[:_LEFT_MAX]]
        if len(proposed.left) > _LEFT_MAX:
            parts.append(_comment(f"- and {len(proposed.left) - _LEFT_MAX} more"))
    return "".join(parts)


def _service(service: ProposedService) -> str:
    lines = [f"  {_key(service.name)}:\n"]
    lines += [_comment(remark, 4) for remark in service.remarks]
    if service.step_s is not None:
        lines.append(_comment("A step must not be shorter than the time between two scrapes.", 4))
        lines.append(f"    step: {written_duration(service.step_s)}\n")
    if service.version is not None:
        lines.append(f"    version: {_flow(_literal({'series': service.version}))}\n")
    lines.append("    series:\n")
    for name, proposal in service.series.items():
        lines += [_comment(proposal.because, 6), f"      {name}: {_flow(_literal(proposal.keys))}\n"]
    return "".join(lines)


def _key(name: str) -> str:
    """The name so that it stays text: `1e5` and `true` are names, too."""
    return f'"{name}"' if name[0].isdigit() or yaml.safe_load(name) != name else name


def _literal(keys: Mapping[str, str | bool]) -> dict[str, str | bool]:
    """The keys so that no `${` in them is read as a reference."""
    return {
        key: value.replace("${", "$${") if isinstance(value, str) else value for key, value in keys.items()
    }


def _flow(keys: Mapping[str, object]) -> str:
    return yaml.safe_dump(
        dict(keys), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    ).strip()


def _comment(text: str, indent: int = 0) -> str:
    return f"{' ' * indent}# {_safe(text)}\n"


def _safe(text: str) -> str:
    return one_line(text, _COMMENT_CHARS_MAX)

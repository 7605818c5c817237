"""The configuration's JSON Schema, for editors: every key of every kind, with its description and default."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from config import plugins
from config.schema import Kinds, Settings
from config.values import FRACTION_PATTERN, written_duration

_SECTIONS = ("sources", "databases", "targets", "channels")


def json_schema(kinds: Kinds) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a whole configuration file with these kinds of plug-ins.

    A section's entry is checked against the keys of its `kind`. `${NAME}` in place of a number or a
    duration is valid configuration that this schema does not know.
    """
    schema = Settings.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    common = definitions.pop("CheckCommon")["properties"]
    definitions.pop("Plugin", None)
    for section in (*_SECTIONS, "checks"):
        definitions |= _section(section, kinds.get(section, {}), common if section == "checks" else {})
    for section in _SECTIONS:
        _point_at(schema["properties"][section], section)
    _point_at(definitions["Service"]["properties"]["checks"], "checks")
    tidied: dict[str, Any] = _tidied(schema)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "Deploy Watchdog configuration",
        **{key: value for key, value in tidied.items() if key != "title"},
    }


def _section(section: str, kinds: Any, common: dict[str, Any]) -> dict[str, Any]:
    """Definitions of one section: `section` chooses by `kind` among `section.kind`."""
    definitions: dict[str, Any] = {}
    choices = []
    for kind, cls in sorted(kinds.items()):
        name = f"{section}.{kind}"
        own = plugins.adapter(cls).json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
        for inner, definition in own.pop("$defs", {}).items():
            definitions[f"{name}.{inner}"] = definition
        own["properties"] = {
            "kind": {"const": kind, "description": f"A {kind} entry of {section}."},
            **own.get("properties", {}),
            **{
                key: value for key, value in common.items() if key not in ("kind", *own.get("properties", {}))
            },
        }
        own["required"] = ["kind", *own.get("required", [])]
        definitions[name] = own
        choices.append(
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
        )
    definitions[section] = {
        "type": "object",
        "properties": {"kind": {"enum": sorted(kinds)}},
        "required": ["kind"],
        "allOf": choices,
    }
    return definitions


def _point_at(mapping: dict[str, Any], definition: str) -> None:
    """Let the values of a mapping of named entries be those of a definition; pydantic knows only `kind`."""
    for pattern in mapping["patternProperties"]:
        mapping["patternProperties"][pattern] = {"$ref": f"#/$defs/{definition}"}


def _tidied(schema: Any) -> Any:
    """As people write it: no titles, no nulls, durations with units, names held to their pattern."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "patternProperties"):
            result[key] = {name: _tidied(item) for name, item in value.items()}
        elif key != "title" and not (key == "default" and value is None):
            result[key] = value if key in ("default", "const", "enum", "examples") else _tidied(value)
    if "patternProperties" in result:
        result["additionalProperties"] = False
    if "description" in result:
        result["description"] = " ".join(result["description"].split())
    alternatives = [option for option in result.get("anyOf", []) if option != {"type": "null"}]
    if len(alternatives) == 1:
        del result["anyOf"]
        result = {**alternatives[0], **result}
    elif alternatives:
        result["anyOf"] = alternatives
    return _with_written_default(result)


def _with_written_default(schema: dict[str, Any]) -> dict[str, Any]:
    default = schema.get("default")
    if "$ref" in schema or default in ([], {}):
        # The keys of a section show their own defaults.
        return {key: value for key, value in schema.items() if key != "default"}
    if isinstance(default, float) and schema.get("pattern") == FRACTION_PATTERN:
        return {**schema, "default": f"1/{1 / default:.0f}"}
    if isinstance(default, float) and schema.get("type") == "string":
        return {**schema, "default": written_duration(default)}
    return schema

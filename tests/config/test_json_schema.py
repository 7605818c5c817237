from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import config
from config.reading import read
from config.reference import markdown
from tests.config.fake_kinds import KINDS, VALID, write
from tests.config.test_problems import ERRORS_SERIES, HOME


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = config.json_schema(KINDS)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    return Draft202012Validator(schema)


def tree(folder: Path, *changes: tuple[str, str]) -> Any:
    text = VALID
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    value, problems = read([write(folder, text)])
    assert problems == []
    return value.value


def test_a_valid_configuration_is_valid(tmp_path: Path, validator: Draft202012Validator) -> None:
    validator.validate(tree(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        ("sources:", "sourcess: {}\nsources:"),
        ("  shop:\n", "  shop:\n    modee: auto\n"),
        ("  shop:\n", "  shop:\n    mode: atuo\n"),
        ("  shop:\n", "  shop:\n    step: 60\n"),
        ("  shop:\n", "  Shop:\n"),
        (ERRORS_SERIES, "errors: {kind: ratio, numerater: x}"),
        (ERRORS_SERIES, "errors: {numerator: x}"),
        (HOME, "home: {kind: web, gett: x}"),
        (HOME, "home: {kind: web}"),
        (HOME, "home: {kind: wep, get: x}"),
        (HOME, "home: {kind: web, get: x, every: 5}"),
        (HOME, "home: {kind: web, get: x, settle: 5}"),
        (HOME, "home: {kind: web, get: x, settle_s: 5s}"),
        (HOME, "home: {kind: web, get: x, steps: [{got: y}]}"),
        (HOME, "home: {kind: query, get: x}"),
        ('url: "http://m"', "url: x, urll: y"),
        ('url: "http://t"', "url: x, status: {url: y, pause: 5}"),
        ('webhook: "${HOOK}"', "webhook: [x]"),
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(
    tmp_path: Path, validator: Draft202012Validator, change: tuple[str, str]
) -> None:
    assert not validator.is_valid(tree(tmp_path, change))


def test_defaults_and_descriptions_are_as_people_write_them() -> None:
    schema = config.json_schema(KINDS)
    metrics = schema["$defs"]["sources.metrics"]
    assert metrics["description"] == "Fake metrics."
    assert metrics["properties"]["timeout"]["default"] == "10s"
    assert metrics["properties"]["timeout"]["description"] == "Of one request."
    assert metrics["properties"]["headers"]["additionalProperties"]["format"] == "password"
    assert metrics["required"] == ["kind", "url"]
    assert schema["$defs"]["checks.web"]["properties"]["every"]["default"] == "1m"
    assert "from" in schema["$defs"]["checks.web"]["properties"]
    assert schema["$defs"]["Budget"]["properties"]["false_rollbacks"]["default"] == "1/200"
    assert schema["properties"]["step"]["default"] == "1m"


def test_the_page_has_every_key_of_every_kind() -> None:
    page = markdown(KINDS)
    for key in ("`settle`", "`from`", "`webhook`", "`pause`", "`rollbacks_per_hour`", "`kind: web`"):
        assert key in page
    assert "| `timeout` | duration | `10s` | Of one request. |" in page
    assert "| `url` | text | **required** | Where it listens. |" in page
    assert "None" not in page

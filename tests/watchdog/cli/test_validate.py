"""`validate` and `schema`, with the real kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import config
from config.reading import read
from config.reference import markdown
from watchdog.cli import exits, main
from watchdog.kinds import KINDS

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "config" / "examples").glob("*.yaml"))
ENVIRON: Mapping[str, str] = {
    "DEPLOY_EVENTS_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "DEPLOYER_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "SLACK_WEBHOOK": "https://hooks.slack.com/services/T0/B0/SECRETCANARY",
    "PD_KEY": "0123456789abcdef0123456789abcdef",
    "LOGIN_SECRET": "client-secret-1",
    "REDIS_URL": "redis://watchdog:SECRETCANARY@redis/0",
    "ORDERS_REPLICA_DSN": "postgresql://u:SECRETCANARY@orders-replica/db",
    "STOCK_DSN": "mysql://u:SECRETCANARY@stock/db",
    # The files of the example do not exist here; overrides win before they are looked for.
    "WATCHDOG__DATABASES__ORDERS__DSN": "postgresql://u:SECRETCANARY@orders/db",
    "WATCHDOG__DATABASES__PAYMENTS__DSN": "postgresql://u:SECRETCANARY@payments/db",
}
MINIMAL = (ROOT / "config" / "examples" / "minimal.yaml").read_text()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        for name, value in ENVIRON.items():
            patched.setenv(name, value)
        for name in ("ORDERS", "PAYMENTS"):
            patched.delenv(f"WATCHDOG__DATABASES__{name}__DSN")
        yield


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["validate", *words])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_loads_without_a_warning(example: Path) -> None:
    environ = ENVIRON if example.stem == "complete" else {"SLACK_WEBHOOK": ENVIRON["SLACK_WEBHOOK"]}
    loaded = config.load([example], KINDS, environ)
    assert loaded.warnings == ()
    assert "SECRETCANARY" not in repr(loaded)
    assert loaded.checks


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_fits_the_json_schema(example: Path) -> None:
    schema = config.json_schema(KINDS)
    Draft202012Validator.check_schema(schema)
    tree, problems = read([example])
    assert problems == []
    Draft202012Validator(schema).validate(tree.value)
    for section in ("sources", "channels"):
        broken = {**tree.value, section: {"x": {**next(iter(tree.value[section].values())), "unheard_of": 1}}}
        assert not Draft202012Validator(schema).is_valid(broken)


def test_the_complete_example_shows_every_kind() -> None:
    tree, _ = read([ROOT / "config" / "examples" / "complete.yaml"])
    shown = {
        section: {e["kind"] for e in tree.value[section].values()}
        for section in KINDS
        if section not in ("checks", "modules")
    }
    shown["checks"] = {
        check["kind"] for body in tree.value["services"].values() for check in body.get("checks", {}).values()
    }
    # Modules of /probe are checks again.
    assert shown == {section: set(KINDS[section]) for section in shown}


def test_the_complete_example_has_a_replica_of_each_engine() -> None:
    tree, _ = read([ROOT / "config" / "examples" / "complete.yaml"])
    engines = {
        tree.value["databases"][check["database"]]["kind"]
        for body in tree.value["services"].values()
        for check in body.get("checks", {}).values()
        if check["kind"] == "replication"
    }
    assert engines == {"postgres", "mysql"}


def test_the_readme_of_the_configuration_is_what_the_code_says() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == markdown(KINDS), "run: deploy-watchdog schema --markdown > docs/configuration.md"


def test_schema_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == exits.HEALTHY
    assert json.loads(capsys.readouterr().out) == config.json_schema(KINDS)
    assert main(["schema", "--markdown"]) == exits.HEALTHY
    assert capsys.readouterr().out == markdown(KINDS)


def test_a_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(MINIMAL)
    code, said = run(capsys, "-c", str(path))
    assert code == exits.HEALTHY
    assert re.fullmatch(r"no problems: configuration [0-9a-f]{12}, services 1, series 1, checks 1\.\n", said)


def test_errors_and_warnings_are_drawn_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(
        MINIMAL.replace("numerator:", "numerater:")
        .replace("expect: status == 200", "expect: status = 200, tries: 3")
        .replace('"${SLACK_WEBHOOK}"', "https://hooks.slack.com/SECRETCANARY")
    )
    code, said = run(capsys, "-c", str(path))
    assert code == exits.CONFIGURATION
    assert "error[unknown-key]: `numerater` is not a key of a ratio series." in said
    assert "^^^^^^^^^ did you mean `numerator`?" in said
    assert "error[unknown-key]: `tries` is not a key of an http check." in said
    assert "error[bad-expression]" in said
    assert "warning[secret-in-file]" in said
    assert said.endswith("3 errors, 1 warning in 1 file. Nothing was changed.\n")
    assert "SECRETCANARY" not in said


def test_strict_makes_warnings_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(MINIMAL.replace('"${SLACK_WEBHOOK}"', "https://hooks.slack.com/x"))
    assert run(capsys, "-c", str(path))[0] == exits.HEALTHY
    code, said = run(capsys, "-c", str(path), "--strict")
    assert code == exits.CONFIGURATION
    assert "error[secret-in-file]" in said


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(MINIMAL.replace("kind: http,", "kind: htp,"))
    code, said = run(capsys, "-c", str(path), "--json")
    answer = json.loads(said)
    assert code == exits.CONFIGURATION
    assert answer["schema"] == "deploy-watchdog/v1"
    assert answer["digest"] is None
    (problem,) = answer["problems"]
    assert problem["code"] == "unknown-kind"
    assert (problem["path"], problem["line"]) == ("services.checkout.checks.home.kind", 13)


def test_without_a_file_it_names_the_one_it_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = run(capsys)
    assert code == exits.CONFIGURATION
    assert "watchdog.yaml cannot be read: No such file or directory." in said


GRANT = 'token_url: "https://login.example/token", client_id: a, client_secret: "${PD_KEY}"'


@pytest.mark.parametrize(
    ("auth", "code", "place"),
    [
        ("oauth2: {client_id: a, client_secret: '${PD_KEY}'}", "missing-key", "auth.oauth2.token_url"),
        (f"oauth2: {{{GRANT}, scope: [a]}}", "unknown-key", "auth.oauth2.scope"),
        (f"oauth2: {{{GRANT}, scopes: 5}}", "bad-value", "auth.oauth2.scopes"),
        ("oauth: {token_url: x}", "unknown-key", "auth.oauth"),
        ("basic: {username: a}", "missing-key", "auth.basic.password"),
        ("", "bad-value", "auth.basic"),
    ],
)
def test_only_the_way_that_was_meant_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], auth: str, code: str, place: str
) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(MINIMAL.replace("kind: http,", f"kind: http, auth: {{{auth}}},"))
    _, said = run(capsys, "-c", str(path), "--json")
    problems = json.loads(said)["problems"]
    assert [(p["code"], p["path"]) for p in problems] == [(code, f"services.checkout.checks.home.{place}")]

from __future__ import annotations

from pathlib import Path

import pytest

import config
from config.schema import Budget
from tests.config.fake_kinds import ENVIRON, KINDS, VALID, Chat, Hook, Metrics, Web, load, write


def test_plugins_are_built_from_the_fields_of_their_classes(tmp_path: Path) -> None:
    text = VALID.replace(
        'targets: {t: {kind: hook, url: "http://t"}}',
        'targets:\n  t:\n    kind: hook\n    url: http://t\n    secrets: ["${HOOK}"]\n'
        '    body: {deep: [1, {x: "{service}"}]}\n    status: {url: http://s, pause: 250ms}',
    ).replace(
        'home: {kind: web, get: "http://shop/"}',
        "home: {kind: web, get: http://shop/, from: me, settle: 2m, every: 5m, json: {a: ~, b: [1]},\n"
        "             steps: [{get: http://one}, {get: http://two, expect: status == 201}]}",
    )
    loaded = load(tmp_path, text)
    assert loaded.sources == {"m": Metrics(url="http://m")}
    target = loaded.targets["t"]
    assert isinstance(target, Hook)
    assert target.status is not None
    assert (target.status.pause_s, target.tries) == (0.25, 3)
    assert target.body == {"deep": [1, {"x": "{service}"}]}
    assert [secret.get_secret_value() for secret in target.secrets] == [ENVIRON["HOOK"]]
    check = loaded.checks["shop", "home"]
    assert isinstance(check, Web)
    assert (check.from_, check.settle_s, check.json) == ("me", 120.0, {"a": None, "b": [1]})
    assert [step.expect for step in check.steps] == ["status == 200", "status == 201"]
    assert loaded.settings.services["shop"].checks["home"].every == 300.0
    assert loaded.warnings == ()


def test_defaults_are_those_of_the_schema(tmp_path: Path) -> None:
    settings = load(tmp_path, VALID).settings
    assert settings.environment == "prod"
    assert settings.defaults.mode == "observe"
    assert settings.defaults.budget == Budget.model_construct(false_rollbacks=0.005)
    assert settings.defaults.watch.for_ == 2700.0
    assert settings.api.listen == "127.0.0.1:8099"
    assert settings.step == 60.0


def test_a_folder_is_one_configuration(tmp_path: Path) -> None:
    head, _, tail = VALID.partition("services:")
    write(tmp_path, head, "base.yaml")
    write(tmp_path, f"services:{tail}", "shop.yaml")
    write(tmp_path, "services: {stock: {checks: {up: {kind: web, get: x}}}}\n", "stock.yaml")
    loaded = config.load([tmp_path], KINDS, ENVIRON)
    assert list(loaded.settings.services) == ["shop", "stock"]


def test_the_digest_is_of_the_meaning_not_of_the_text_nor_of_the_secrets(tmp_path: Path) -> None:
    first = load(tmp_path, VALID)
    assert len(first.digest) == 12
    assert int(first.digest, 16) >= 0
    reordered = "environment: prod\n" + VALID.replace(
        "numerator: 'x_total{a=\"b\"}', denominator: x_total",
        "denominator: x_total, numerator: 'x_total{a=\"b\"}'",
    )
    assert load(tmp_path, reordered.removeprefix("environment: prod\n")).digest == first.digest
    assert load(tmp_path, VALID, {"HOOK": "https://another.example"}).digest == first.digest
    assert load(tmp_path, VALID.replace("http://shop/", "http://shop/2")).digest != first.digest
    assert load(tmp_path, VALID, {**ENVIRON, "WATCHDOG__STEP": "30s"}).digest != first.digest


def test_literal_secrets_are_not_in_the_digest(tmp_path: Path) -> None:
    one = load(tmp_path, VALID.replace('webhook: "${HOOK}"', "webhook: SECRET-one"))
    two = load(tmp_path, VALID.replace('webhook: "${HOOK}"', "webhook: SECRET-two"))
    assert one.digest == two.digest


def test_settings_can_be_made_by_hand_and_read_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG__ENVIRONMENT", "elsewhere")
    assert config.Settings().environment == "prod"


class TestEnvironment:
    def test_it_overrides_files(self, tmp_path: Path) -> None:
        environ = {
            **ENVIRON,
            "WATCHDOG__API__LISTEN": "127.0.0.1:1",
            "WATCHDOG__STEP": "15s",
            "WATCHDOG__SINGLE_INSTANCE": "true",
            "WATCHDOG__LIMITS__ROLLBACKS_PER_DAY": "9",
            "WATCHDOG__TARGETS__T__URL": "http://elsewhere",
            "WATCHDOG__TARGETS__T__TRIES": "7",
            "WATCHDOG__TARGETS__T__BODY": '{"a": 1}',
            "WATCHDOG__ALERTS__DEFAULT": '["c"]',
            "WATCHDOG__SERVICES__SHOP__CHECKS__HOME__EVERY": "7s",
            "WATCHDOG__SERVICES__SHOP__CHECKS__HOME__GET": "http://moved",
            "WATCHDOG__SERVICES__SHOP__MODE": "observe",
            "watchdog__lag": "3s",
        }
        loaded = load(tmp_path, f"step: 60s\napi: {{listen: '127.0.0.1:2'}}\n{VALID}", environ)
        settings = loaded.settings
        assert (settings.api.listen, settings.step, settings.lag) == ("127.0.0.1:1", 15.0, 3.0)
        assert settings.single_instance
        assert settings.limits.rollbacks_per_day == 9
        assert settings.alerts.default == ("c",)
        target, check = loaded.targets["t"], loaded.checks["shop", "home"]
        assert (target.url, target.tries, target.body) == ("http://elsewhere", 7, {"a": 1})
        assert check.get == "http://moved"
        assert settings.services["shop"].checks["home"].every == 7.0

    def test_a_dash_is_written_as_an_underscore(self, tmp_path: Path) -> None:
        text = VALID.replace("channels: {c:", "channels: {on-call:")
        environ = {**ENVIRON, "WATCHDOG__CHANNELS__ON_CALL__WEBHOOK": "https://other"}
        channel = load(tmp_path, text, environ).channels["on-call"]
        assert isinstance(channel, Chat)
        assert channel.webhook.get_secret_value() == "https://other"

    def test_it_may_hold_everything(self, tmp_path: Path) -> None:
        environ = {"WATCHDOG__SOURCES__M": '{"kind": "metrics", "url": "http://m"}'}
        assert load(tmp_path, "environment: prod\n", environ).sources == {"m": Metrics(url="http://m")}

    @pytest.mark.parametrize(
        ("name", "value", "code", "path"),
        [
            ("WATCHDOG__APII__LISTEN", "x", "unknown-key", "apii"),
            ("WATCHDOG__API__LISTN", "x", "unknown-key", "api.listn"),
            ("WATCHDOG__STEP", "60", "unit-missing", "step"),
            ("WATCHDOG__API", "{broken", "bad-value", "api"),
            ("WATCHDOG__TARGETS__T__URLL", "x", "unknown-key", "targets.t.urll"),
            ("WATCHDOG__ALERTS__DEFAULT", '["nobody"]', "unknown-reference", "alerts.default[0]"),
        ],
    )
    def test_a_wrong_override_is_an_error_that_names_the_variable(
        self, tmp_path: Path, name: str, value: str, code: str, path: str
    ) -> None:
        with pytest.raises(config.ConfigError) as caught:
            load(tmp_path, VALID, {**ENVIRON, name: value})
        (problem,) = caught.value.problems
        assert (problem.code, problem.path) == (code, path)
        assert name in f"{problem.file} {problem.message}"


class TestSecrets:
    def test_references_stand_inside_texts_and_files_stand_alone(self, tmp_path: Path) -> None:
        secret = tmp_path / "hook"
        secret.write_text("https://from-a-file\n")
        text = VALID.replace('webhook: "${HOOK}"', f"webhook: file:{secret}").replace(
            'url: "http://t"', 'url: "http://${HOST}:${PORT}/$${x}/$y"'
        )
        loaded = load(tmp_path, text, {**ENVIRON, "HOST": "host", "PORT": "80"})
        assert loaded.channels["c"].webhook.get_secret_value() == "https://from-a-file"
        assert loaded.targets["t"].url == "http://host:80/${x}/$y"

    def test_the_settings_hold_no_secret_of_a_plugin(self, tmp_path: Path) -> None:
        text = VALID.replace('get: "http://shop/"', 'get: "http://shop/?key=${HOOK}"').replace(
            "kind: metrics,", "kind: metrics, headers: {Authorization: 'Bearer ${HOOK}', Accept: text/plain},"
        )
        loaded = load(tmp_path, f"environment: {{}}\n{text}".removeprefix("environment: {}\n"))
        assert "SECRETCANARY" not in repr(loaded.settings)
        assert "SECRETCANARY" not in loaded.settings.model_dump_json()
        assert loaded.settings.channels["c"].model_extra == {"webhook": "***"}
        header = loaded.sources["m"].headers["Authorization"].get_secret_value()
        assert header == f"Bearer {ENVIRON['HOOK']}"

    def test_the_settings_show_no_password_in_a_url(self, tmp_path: Path) -> None:
        text = VALID.replace("http://m", "https://u:SECRETCANARY@m/x?token=SECRETCANARY&page=2#a")
        loaded = load(tmp_path, text)
        assert loaded.sources["m"].url == "https://u:SECRETCANARY@m/x?token=SECRETCANARY&page=2#a"
        assert loaded.settings.sources["m"].model_extra == {"url": "https://***@m/x?token=***&page=***#a"}

    def test_one_in_the_file_is_a_warning_that_does_not_show_it(self, tmp_path: Path) -> None:
        text = VALID.replace('webhook: "${HOOK}"', "webhook: SECRETCANARY-literal").replace(
            "kind: metrics,", "kind: metrics, headers: {X-Token: SECRETCANARY-2, Accept: text/plain},"
        )
        warnings = load(tmp_path, f"api: {{webhook_secrets: [SECRETCANARY-3]}}\n{text}").warnings
        assert {(w.code, w.severity, w.path) for w in warnings} == {
            ("secret-in-file", "warning", "channels.c.webhook"),
            ("secret-in-file", "warning", "sources.m.headers.X-Token"),
            ("secret-in-file", "warning", "api.webhook_secrets[0]"),
        }
        assert "SECRETCANARY" not in "".join(warning.render() for warning in warnings)

    @pytest.mark.parametrize(
        ("reference", "code"),
        [
            ("${NOWHERE}", "secret-missing"),
            ("${EMPTY}", "secret-missing"),
            ("file:/nowhere/at/all", "secret-missing"),
            ("file:/etc", "secret-missing"),
            ("file:/dev/null", "secret-missing"),
            ("${HOOK:-default}", "bad-reference"),
            ("${", "bad-reference"),
            ("${HOOK", "bad-reference"),
        ],
    )
    def test_a_reference_that_leads_nowhere(self, tmp_path: Path, reference: str, code: str) -> None:
        with pytest.raises(config.ConfigError) as caught:
            load(
                tmp_path,
                VALID.replace('webhook: "${HOOK}"', f'webhook: "{reference}"'),
                {**ENVIRON, "EMPTY": ""},
            )
        assert [(p.code, p.path, p.line) for p in caught.value.problems] == [(code, "channels.c.webhook", 4)]
        assert reference in str(caught.value)

    def test_a_missing_one_is_the_only_error_of_its_key(self, tmp_path: Path) -> None:
        with pytest.raises(config.ConfigError) as caught:
            load(tmp_path, VALID.replace("kind: hook,", "kind: hook, tries: '${TRIES}',"))
        assert [(p.code, p.path) for p in caught.value.problems] == [("secret-missing", "targets.t.tries")]

    @pytest.mark.parametrize(
        "change",
        [
            ('webhook: "${HOOK}"', "webhoook: SECRETCANARY-1"),
            ('webhook: "${HOOK}"', "webhook: {a: SECRETCANARY-1}"),
            ('webhook: "${HOOK}"', "webhook: [SECRETCANARY-1"),
            ('webhook: "${HOOK}"', "webhook: SECRETCANARY-1, other: 1"),
            ('url: "http://t"', "url: http://t, tries: '${HOOK}'"),
            ('url: "http://t"', "url: http://t, tries: {a: '${HOOK}'}"),
            ('get: "http://shop/"', "get: http://shop/, expect: 'a = ${HOOK}'"),
            ('get: "http://shop/"', "gett: 'http://user:SECRETCANARY@shop/?token=SECRETCANARY'"),
            ("numerator: 'x_total{a=\"b\"}'", "numerator: 'rate(${HOOK})'"),
            ("kind: ratio", "kind: '${HOOK}'"),
            ("sources:", "api: {listen: '${HOOK}'}\nsources:"),
            ("sources:", "api: {tokens: {ci: {hash: 'SECRETCANARY'}}}\nsources:"),
        ],
    )
    def test_no_error_shows_one(self, tmp_path: Path, change: tuple[str, str]) -> None:
        assert change[0] in VALID
        with pytest.raises(config.ConfigError) as caught:
            load(tmp_path, VALID.replace(*change))
        assert "SECRETCANARY" not in str(caught.value)
        assert "SECRETCANARY" not in repr(caught.value.problems)

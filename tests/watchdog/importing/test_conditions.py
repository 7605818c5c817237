"""Gatus' conditions as CEL: what they become, and what they then say of real answers."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from checks.expressions.expression import Expression
from checks.web.messages import VARIABLES
from watchdog.importing.conditions import OF_DNS, OF_HTTP, OF_TLS, as_cel
from watchdog.importing.peer import NoEquivalent


def says(condition: str, body: Any = None, status: int = 200, total_s: float = 0.1) -> bool:
    """What the imported condition says of an answer; a body that is no text is JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    values: dict[str, Any] = {"status": status, "text": text, "total": timedelta(seconds=total_s)}
    values["certificate_days"] = 10.0
    if not isinstance(body, str):
        values["json"] = body
    return Expression(as_cel(condition, OF_HTTP), VARIABLES).judge(values).kind == "true"


@pytest.mark.parametrize(
    ("condition", "cel"),
    [
        ("[STATUS] == 200", "status == 200"),
        ("200 == [STATUS]", "status == 200"),
        ("300 > [RESPONSE_TIME]", 'total < duration("0.3s")'),
        ("[STATUS] == any(200, 429)", "status in [200, 429]"),
        ("[STATUS] != any(500, 503)", "!(status in [500, 503])"),
        ("[STATUS] == pat(2*)", 'string(status).startsWith("2")'),
        ("[RESPONSE_TIME] < 300", 'total < duration("0.3s")'),
        ("[RESPONSE_TIME] < 1m30s", 'total < duration("90s")'),
        ("[CERTIFICATE_EXPIRATION] > 48h", "certificate_days > 2"),
        ("[CONNECTED] == true", ""),
        ("[BODY] == pong", 'text == "pong"'),
        ("[BODY] == pat(*<h1>up</h1>*)", 'text.contains("<h1>up</h1>")'),
        ("[BODY].user.name == john", 'json.user.name == "john"'),
        ("[BODY].data[0].id == 1", 'json.data[0].id in [1, "1"]'),
        ("[BODY].up == true", 'json.up in [true, "true"]'),
        ("[BODY].foo-bar == x", 'json["foo-bar"] == "x"'),
        ("[BODY][1].in == x", 'json[1]["in"] == "x"'),
        ("[BODY].rate <= 0.05", "json.rate <= 0.05"),
        ("[BODY].a == [BODY].b", "json.a == json.b"),
        ("[BODY].used < len([BODY].all)", "json.used < size(json.all)"),
        ("len([BODY].users) > 5", "size(json.users) > 5"),
        ("has([BODY].errors) == false", "!(has(json.errors))"),
        ("has([BODY].a.b) == true", "has(json.a) && has(json.a.b)"),
        ("has([BODY].a[2]) != false", "has(json.a) && size(json.a) > 2"),
        ("[BODY].name == any(pat(jo*), x y)", '(json.name in ["x y"] || string(json.name).startsWith("jo"))'),
    ],
)
def test_a_condition_becomes(condition: str, cel: str) -> None:
    assert as_cel(condition, OF_HTTP) == cel


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ("[BODY].id == 1", {"id": 1}, {"id": 2}),
        ("[BODY].id == 1", {"id": "1"}, {}),
        ("[BODY].id == 9007199254740993", {"id": 9007199254740993}, {"id": 9007199254740992}),
        ("[BODY].total == 24.90", {"total": 24.9}, {"total": 24.8}),
        # Those that Gatus lets pass, because it cuts numbers to whole ones and reads a missing one as 0.
        ("[BODY].rate <= 0.05", {"rate": 0.05}, {"rate": 0.9}),
        ("[BODY].error_count < 5", {"error_count": 4}, {"oops": True}),
        ("[BODY].balance != 0", {"balance": 1}, {"oops": 1}),
        ("has([BODY].a.b) == false", {"a": {}}, {"a": {"b": 1}}),
        ("has([BODY].a.b) == false", {}, {"a": {"b": None}}),
        ("has([BODY].a[1].b) == true", {"a": [0, {"b": 1}]}, {"a": [0]}),
        ("[BODY].name == pat(j?hn [a-c]*)", {"name": "john b/c"}, {"name": "john d"}),
        (r"[BODY].name == pat(\*x.)", {"name": "*x."}, {"name": "axx"}),
        ("[BODY].name == pat([)", {"name": "["}, {"name": "x"}),
        ("len([BODY].users) > 1", {"users": [1, 2]}, {"users": [1]}),
        ("[BODY] == pat(*up*)", "we are up\n", "we are not"),
        ("[BODY] != pat(*error*)", "fine", "an error"),
    ],
)
def test_it_says_of_an_answer_what_it_should(condition: str, good: Any, bad: Any) -> None:
    assert says(condition, good)
    assert not says(condition, bad)


def test_of_status_and_times() -> None:
    assert says("[STATUS] == any(200, 429)", status=429)
    assert not says("[STATUS] == pat(2*)", status=302)
    assert not says("[RESPONSE_TIME] < 300", total_s=0.3)
    assert says("[CERTIFICATE_EXPIRATION] > 48h")
    assert not says("[CERTIFICATE_EXPIRATION] > 480h")


def test_of_other_kinds() -> None:
    assert as_cel("[CERTIFICATE_EXPIRATION] > 36h", OF_TLS) == "days > 1.5"
    assert as_cel("[DNS_RCODE] == NOERROR", OF_DNS) == 'rcode == "NOERROR"'
    term = as_cel("[BODY] == 93.184.216.34", OF_DNS)
    assert Expression(term, OF_DNS.variables).judge({"answers": ["1.1.1.1", "93.184.216.34"]}).kind == "true"
    assert Expression(term, OF_DNS.variables).judge({"answers": ["1.1.1.1"]}).kind == "false"
    assert as_cel("[BODY] == pat(93.*)", OF_DNS) == 'answers.exists(answer, answer.startsWith("93."))'


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("[STATUS]==200", "blanks around"),
        ("1 == 1", "no placeholder"),
        ("[IP] == 127.0.0.1", "addresses"),
        ("[DOMAIN_EXPIRATION] > 720h", "domains"),
        ("[CONTEXT].id == 1", "scenario"),
        ("[NOSUCH] == 1", r"no placeholder \[NOSUCH\]"),
        ("[CONNECTED] == false", "only if it connects"),
        ("[STATUS] == up", "`up` is not a number"),
        ("[STATUS] < up", "`up` is not a number"),
        ("[RESPONSE_TIME] < soon", "`soon` is not a duration"),
        ("[STATUS].x == 1", "neither parts"),
        ("len([BODY]) > 5", "size"),
        ("has([BODY]) == true", "below"),
        ("has([BODY].x) == 1", "true or false"),
        ("[BODY].a..b == 1", "path"),
        ("[BODY].a == [STATUS]", "do not compare"),
        ("[BODY].a < b", "`b` is not a number"),
        ("[DNS_RCODE] == NOERROR", "does not tell"),
        ("pat([BODY].x) == 1", "no placeholder"),
        ("[BODY].a == pat([z-a])", "would be CEL that cannot be"),
    ],
)
def test_what_cannot_be_said_is_refused(condition: str, told: str) -> None:
    with pytest.raises(NoEquivalent, match=told):
        as_cel(condition, OF_HTTP)


def test_of_dns_only_equality() -> None:
    with pytest.raises(NoEquivalent, match="DNS records"):
        as_cel("[BODY] != 1.1.1.1", OF_DNS)

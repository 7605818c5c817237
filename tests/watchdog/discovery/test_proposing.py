"""What each convention becomes, without a server: names and labels as their makers document them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import config
from config.values import slug
from watchdog.discovery.asking import ROWS_MAX, Family, Left, Row, Seen, Sighting, families
from watchdog.discovery.conventions import MEASURES, REQUESTS
from watchdog.discovery.proposing import Proposed, propose
from watchdog.discovery.writing import configuration
from watchdog.kinds import KINDS
from watchdog.sources.selector import Matcher, parse_selector

HISTOGRAM = ("_bucket", "_count", "_sum")
GRPC = (
    "Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss"
    "|UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS"
)
KEYS = {"kind": "prometheus", "url": "http://prometheus:9090"}


def family(name: str, *, parts: tuple[str, ...] = (), types: Mapping[str, str] | None = None) -> Family:
    """The one family that these names are."""
    names = {f"{name}{part}" for part in parts} or {name}
    (found,), _ = families(names, types or {})
    return found


def rows(*labels: Mapping[str, str], per_minute: float = 60.0) -> list[Row]:
    return [Row(labels=one, per_minute=per_minute) for one in labels]


def proposed(*sightings: Sighting, by: str | None = None, series_max: int = 5) -> Proposed:
    return propose(Seen(sightings=sightings, left=()), by=by, services_max=50, series_max=series_max)


def seen(what: Family, found: list[Row], only: tuple[Matcher, ...] = ()) -> Sighting:
    return Sighting(family=what, only=only, rows=found)


@pytest.mark.parametrize(
    ("name", "parts", "labels", "numerator", "unit"),
    [
        (
            "http_server_request_duration_seconds",
            HISTOGRAM,
            {"job": "shop/checkout", "http_response_status_code": "200"},
            '_count{job="shop/checkout",http_response_status_code=~"5.."}',
            "s",
        ),
        (
            "http_server_duration_milliseconds",
            HISTOGRAM,
            {"job": "checkout", "http_status_code": "200"},
            '_count{job="checkout",http_status_code=~"5.."}',
            "ms",
        ),
        (
            "http_server_requests_seconds",
            HISTOGRAM,
            {"application": "checkout", "job": "spring", "status": "200", "outcome": "SUCCESS"},
            '_count{application="checkout",status=~"5.."}',
            "s",
        ),
        ("http_requests_total", (), {"app": "a", "status": "2xx"}, '{app="a",status=~"5.."}', None),
        ("http_requests_received_total", (), {"app": "a", "code": "200"}, '{app="a",code=~"5.."}', None),
        (
            "http_request_duration_seconds",
            HISTOGRAM,
            {"service": "a", "status_code": "200"},
            '_count{service="a",status_code=~"5.."}',
            "s",
        ),
        (
            "grpc_server_handled_total",
            (),
            {"job": "a", "grpc_code": "OK"},
            f'{{job="a",grpc_code=~"{GRPC}"}}',
            None,
        ),
        (
            "grpc_server_call_duration_seconds",
            HISTOGRAM,
            {"job": "a", "grpc_status": "OK"},
            f'_count{{job="a",grpc_status=~"{GRPC}"}}',
            "s",
        ),
        (
            "rpc_server_duration_milliseconds",
            HISTOGRAM,
            {"job": "a", "rpc_grpc_status_code": "0"},
            '_count{job="a",rpc_grpc_status_code=~"2|4|12|13|14|15"}',
            "ms",
        ),
        (
            "istio_requests_total",
            (),
            {"destination_canonical_service": "a", "app": "b", "response_code": "200"},
            '{destination_canonical_service="a",response_code=~"5.."}',
            None,
        ),
        (
            "istio_request_duration_milliseconds",
            HISTOGRAM,
            {"destination_service_name": "a", "response_code": "200"},
            '_count{destination_service_name="a",response_code=~"5.."}',
            "ms",
        ),
        (
            "nginx_ingress_controller_requests",
            (),
            {"exported_service": "a", "service": "ingress-nginx", "ingress": "i", "status": "200"},
            '{exported_service="a",status=~"5.."}',
            None,
        ),
        (
            "nginx_ingress_controller_request_duration_seconds",
            HISTOGRAM,
            {"service": "a", "ingress": "i", "status": "200"},
            '_count{service="a",status=~"5.."}',
            "s",
        ),
        (
            "traefik_service_requests_total",
            (),
            {"service": "a@docker", "code": "200", "job": "traefik"},
            '{service="a@docker",code=~"5.."}',
            None,
        ),
        (
            "traefik_service_request_duration_seconds",
            HISTOGRAM,
            {"service": "a@docker", "code": "200"},
            '_count{service="a@docker",code=~"5.."}',
            "s",
        ),
        (
            "envoy_cluster_upstream_rq_xx",
            (),
            {"envoy_cluster_name": "a", "envoy_response_code_class": "2"},
            '{envoy_cluster_name="a",envoy_response_code_class=~"5"}',
            None,
        ),
        (
            "orders_request_duration_seconds",
            HISTOGRAM,
            {"job": "a", "method": "place", "outcome": "success"},
            '_count{job="a",outcome=~"failure|failed|error|SERVER_ERROR"}',
            "s",
        ),
        ("flask_http_request_total", (), {"job": "a", "status": "200"}, '{job="a",status=~"5.."}', None),
    ],
)
def test_each_convention_becomes_errors_latency_and_traffic(
    name: str, parts: tuple[str, ...], labels: Mapping[str, str], numerator: str, unit: str | None
) -> None:
    (service,) = proposed(seen(family(name, parts=parts), rows(labels))).services
    errors, traffic = service.series["errors"].keys, service.series["traffic"].keys
    assert errors["numerator"] == f"{name}{numerator}"
    assert errors["denominator"] == traffic["counter"]
    whole = parse_selector(str(errors["denominator"]))
    assert parse_selector(str(errors["numerator"])).matchers[: len(whole.matchers)] == whole.matchers
    if unit is None:
        assert "latency" not in service.series
    else:
        latency = service.series["latency"].keys
        assert latency["histogram"] == str(errors["denominator"]).replace("_count{", "_bucket{", 1)
        assert latency.get("unit", "s") == unit


def test_every_row_is_tried_or_of_a_kind_that_is() -> None:
    """A row whose pattern another one hides would never be used."""
    names = {row.family: row for row in REQUESTS}
    assert len(names) == len(REQUESTS)
    for row in REQUESTS:
        if row.family.isidentifier():
            assert family(row.family, types={row.family: "counter"}).convention is row
    assert len({row.family for row in MEASURES}) == len(MEASURES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("orders_placed_total", "count"), ("mails_failed_total", "rate"), ("jobs_queue_depth", "gauge")],
)
def test_business_is_told_by_its_suffix(name: str, kind: str) -> None:
    (service,) = proposed(seen(family(name), rows({"app": "shop"}))).services
    ((series, proposal),) = service.series.items()
    assert (series, proposal.keys["kind"]) == (name.removesuffix("_total"), kind)
    assert proposal.keys.get("acts", True) is (kind != "gauge")


def test_the_lag_of_a_consumer_belongs_to_its_group() -> None:
    lag = seen(family("kafka_consumergroup_lag"), rows({"consumergroup": "ledger", "job": "kafka"}))
    (service,) = proposed(lag).services
    assert service.name == "ledger"


def test_native_histograms_give_latency_and_no_ratio() -> None:
    name = "http_server_request_duration_seconds"
    native = family(name, types={name: "histogram"})
    assert (native.type, family(name).type) == ("native", "native")
    result = proposed(seen(native, rows({"job": "a", "http_response_status_code": "200"})))
    (service,) = result.services
    assert {key: proposal.keys for key, proposal in service.series.items()} == {
        "latency": {"kind": "histogram", "histogram": f'{name}{{job="a"}}'}
    }
    assert "native histograms hold no counter" in result.left[0].why


def test_the_first_row_that_knows_a_service_speaks() -> None:
    own = seen(
        family("http_requests_total"), rows({"app": "shop", "code": "200"}, {"app": "web", "code": "200"})
    )
    mesh = seen(
        family("istio_requests_total"), rows({"destination_service_name": "shop", "response_code": "200"})
    )
    services = {service.name: service for service in proposed(own, mesh).services}
    assert services["shop"].series["errors"].keys["denominator"] == 'http_requests_total{app="shop"}'


def test_what_another_family_gives_is_not_lacking() -> None:
    counter = seen(family("http_requests_total"), rows({"app": "shop", "code": "200"}))
    times = seen(family("http_request_duration_seconds", parts=HISTOGRAM), rows({"app": "shop"}))
    assert proposed(counter, times).left == []
    assert [left.what for left in proposed(times).left] == ["http_request_duration_seconds"]


@pytest.mark.parametrize(
    ("found", "by", "label"),
    [
        # Several values before one, most rows before few, then the order of the table.
        ([{"service": "x", "app": "a"}, {"service": "x", "app": "b"}], None, "app"),
        ([{"service": "a", "job": "j"}, {"job": "k"}, {"job": "l"}], None, "job"),
        ([{"service": "a", "app": "c"}, {"service": "b", "app": "d"}], None, "service"),
        ([{"app": "only"}], None, "app"),
        ([{"app": "a", "team": "t"}, {"app": "b", "team": "u"}], "team", "team"),
        ([{"app": f"user-{n}", "job": "shop"} for n in range(501)], None, "job"),
    ],
)
def test_the_label_that_names_a_service(found: list[dict[str, str]], by: str | None, label: str) -> None:
    requests = seen(family("http_requests_total"), rows(*found))
    selectors = [str(s.series["traffic"].keys["counter"]) for s in proposed(requests, by=by).services]
    assert selectors
    assert all(selector.startswith(f"http_requests_total{{{label}=") for selector in selectors)


def test_what_cannot_be_a_service_is_said() -> None:
    requests = family("http_requests_total")

    def why(*labels: Mapping[str, str], per_minute: float = 60.0) -> str:
        return " ".join(
            f"{left.what}: {left.why}"
            for left in proposed(seen(requests, rows(*labels, per_minute=per_minute))).left
        )

    assert "no label names a service" in why({"team": "a"})
    assert "some of its series have no label app" in why({"app": "a", "code": "200"}, {"code": "200"})
    assert "0.5 requests a minute are too few" in why({"app": "a", "code": "200"}, per_minute=0.5)
    assert "cannot be the name of a service" in why({"app": "日本", "code": "200"})
    assert "would have the name of another service, a-b" in why(
        {"app": "a.b", "code": "200"}, {"app": "a-b", "code": "200"}
    )
    assert f"only {ROWS_MAX} combinations" in why(*[{"app": "a", "code": "200"}] * ROWS_MAX)


def test_each_service_is_read_by_its_own_status_label() -> None:
    found = rows({"app": "a", "code": "200"}, {"app": "b", "status": "200"}, {"app": "c", "kind": "x"})
    result = proposed(seen(family("http_requests_total"), found))
    numerators = {
        s.name: s.series["errors"].keys["numerator"] for s in result.services if "errors" in s.series
    }
    assert numerators == {
        "a": 'http_requests_total{app="a",code=~"5.."}',
        "b": 'http_requests_total{app="b",status=~"5.."}',
    }
    assert [left.why for left in result.left] == ["no label tells what failed. No errors from it"]


def test_business_that_stands_still_is_told_from_failures_that_do() -> None:
    def told(name: str) -> tuple[list[str], str]:
        result = proposed(seen(family(name), rows({"app": "a"}, per_minute=0.0)))
        names = [series for service in result.services for series in service.series]
        return names, " ".join(left.why for left in result.left)

    assert told("mails_failed_total") == (["mails_failed"], "")
    assert told("orders_paid_total") == ([], "0 a minute are too few to see that they become fewer")
    assert told("mails_waiting") == ([], "did not move in the last hour")


def test_one_name_in_two_places_is_said() -> None:
    found = rows(
        {"app": "a", "namespace": "prod", "code": "200"}, {"app": "a", "namespace": "test", "code": "200"}
    )
    (service,) = proposed(seen(family("http_requests_total"), found)).services
    assert service.remarks == ["namespace is prod, test: counted together unless you say which, with --match"]


def test_no_service_has_more_series_than_asked_for() -> None:
    counter = seen(family("http_requests_total"), rows({"app": "a", "code": "200"}))
    (service,) = proposed(counter, series_max=1).services
    assert list(service.series) == ["errors"]
    assert service.remarks == ["left out, 1 series are the most: traffic"]


def test_no_more_families_are_asked_for_than_the_limit() -> None:
    taken, left = families({f"a{n}_http_requests_total" for n in range(60)}, {})
    assert len(taken) == 40
    assert left[0].why == "not looked at: 40 metrics are the most"


@pytest.mark.parametrize(
    ("name", "type_"),
    [("http_requests_total", "gauge"), ("mails_waiting", "counter"), ("a_paid_total", "gauge")],
)
def test_what_its_metadata_contradicts_is_not_proposed(name: str, type_: str) -> None:
    taken, left = families({name}, {name: type_})
    assert taken == []
    assert "contradicts its name" in left[0].why
    # Who sends by remote write may send no types.
    assert len(families({name}, {name: "unknown"})[0]) == 1


@settings(max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("true")
@example("1e5")
@example("0x1")
@example("${HOME}")
@example("x$${A}")
@example("a\nb: c")
@example("a'\"\\`{}")
@given(value=st.text(min_size=1))
def test_whatever_a_label_holds_the_file_says_just_that(tmp_path: Path, value: str) -> None:
    labels = [{"app": "shop", "code": "200"}, {"app": value, "code": "200"}, {"app": value, "code": value}]
    services = proposed(seen(family("http_requests_total"), rows(*labels))).services
    path = tmp_path / "watchdog.yaml"
    text = configuration("http://p:9090", KEYS, Proposed(services=services, left=[Left(value, value)]))
    path.write_text(text, encoding="utf-8")
    loaded = config.load([path], KINDS, {})
    assert loaded.warnings == ()
    found = {
        name: parse_selector(service.series["traffic"].counter or "").matchers
        for name, service in loaded.settings.services.items()
    }
    # What cannot be printed, or has nothing of a name, names no service.
    is_name = value.isprintable() and len(value) <= 200 and slug(value) not in ("unnamed", "shop")
    expected = {"shop": "shop", slug(value): value} if is_name else {"shop": "shop"}
    assert found == {name: (Matcher("app", "=", app),) for name, app in expected.items()}

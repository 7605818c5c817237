"""A configuration of Gatus as one of ours.

Source: README of Gatus (github.com/TwiN/gatus), `Configuration`, `Client configuration`, `Conditions`.
"""

from __future__ import annotations

import re

from watchdog.importing.conditions import OF_DNS, OF_HTTP, OF_OTHERS, OF_TLS, OF_WEBSOCKET, Dialect, as_cel
from watchdog.importing.peer import (
    Imported,
    Keys,
    NoEquivalent,
    Part,
    address,
    complaint,
    document,
    duration_of,
    method_key,
)

_EVERY_S, _TIMEOUT_S = 60.0, 10.0
_TOP = {
    "alerting": "only slack and pagerduty are channels here",
    "connectivity": "a check whose own network is down ends as an error, which is missing data",
    "external-endpoints": "nothing is pushed here",
    "maintenance": "alerts are not silenced by windows",
    "metrics": "/metrics is always served",
    "remote": "one watchdog does not show another",
    "security": "write tokens under api.tokens (deploy-watchdog token makes one)",
    "storage": "the state is kept under state_dir",
    "suites": "write the steps as one check of kind scenario",
    "tunneling": "checks connect directly or by proxy",
    "ui": "the dashboard has no settings",
    "web": "write api.listen",
    "concurrency": "checks do not wait for each other",
}
_ENDPOINT = {
    "alerts": "a deploy is judged by its budget of false rollbacks, not by failures in a row",
    "extra-labels": "the metrics carry service and check only",
    "maintenance-windows": "alerts are not silenced by windows",
    "ssh": "no kind of check logs in",
    "ui": "errors never show secrets; there is nothing else to hide",
}
_CLIENT = {
    "insecure": "certificates are always verified; write the authority's file as tls.ca_file",
    "dns-resolver": "names are resolved by the system; `resolve` gives an address",
    "identity-aware-proxy": "write auth.oauth2 or auth.bearer_file",
    "network": "the order of addresses is the system's",
    "tunnel": "checks connect directly or by proxy",
}


def from_gatus(text: str) -> Imported:
    """The configuration of the file with this text; raises NoEquivalent where nothing can be read."""
    imported = Imported()
    root = Part(document(_references(text)), "", imported.left)
    endpoints = root.parts("endpoints") + root.parts("services")
    for endpoint in endpoints:
        _endpoint(endpoint, imported)
    _channels(root.part("alerting"), imported)
    root.leave_rest(_TOP)
    if "services" not in imported.configuration:
        raise NoEquivalent("there is no endpoint that could become a check")
    return imported


def _references(text: str) -> str:
    """Gatus expands `$NAME`, `${NAME}` and `$$`; here a reference has braces and `$${` is a literal `${`."""

    def written(found: re.Match[str]) -> str:
        return "$${" if found[0] == "$${" else "$" if found[0] == "$$" else "${" + found[1] + "}"

    return re.sub(r"\$\$\{|\$\$|\$\{?([A-Za-z_]\w*)\}?", written, text)


def _endpoint(endpoint: Part, imported: Imported) -> None:
    name, group = endpoint.take("name", str) or "", endpoint.take("group", str)
    if endpoint.take("enabled", bool) is False:
        endpoint.leave("enabled", "switched off, so it is left out")
        return
    url = endpoint.take("url", str) or ""
    if not name or not url:
        endpoint.leave("", "has no name or no url")
        return
    try:
        check = _check(endpoint, url)
        problem = complaint(check)
        if problem is not None:
            raise NoEquivalent(problem)
    except NoEquivalent as error:
        endpoint.leave("", f"{name}: {error}")
        return
    endpoint.leave_rest(_ENDPOINT)
    imported.put(group or name, name, check)


def _check(endpoint: Part, url: str) -> Keys:
    client = endpoint.part("client")
    check: Keys = {
        "kind": "",
        "every": duration_of(endpoint, "interval", _EVERY_S),
        "timeout": duration_of(client, "timeout", _TIMEOUT_S),
    }
    scheme = url.partition("://")[0] if "://" in url else ""
    dns = endpoint.part("dns")
    queried = dns.take("query-name", str)
    if queried is not None:
        check |= _dns(endpoint, dns, url, queried)
    elif scheme in ("http", "https") or url.startswith("${"):
        check |= _http(endpoint, client, url)
    elif scheme == "tcp":
        check |= _tcp(endpoint, url)
    elif scheme in ("tls", "starttls"):
        check |= _tls(endpoint, client, url)
    elif scheme in ("ws", "wss"):
        check |= _websocket(endpoint, url)
    elif scheme in ("grpc", "grpcs"):
        check |= _grpc(endpoint, url)
    else:
        raise NoEquivalent(f"no kind of check speaks {scheme or 'this'}")
    client.leave_rest(_CLIENT)
    return check


def _http(endpoint: Part, client: Part, url: str) -> Keys:
    method = method_key(endpoint.take("method", str))
    check: Keys = {"kind": "http", method: url}
    headers = _headers(endpoint)
    if headers:
        check["headers"] = headers
    body, is_graphql = endpoint.take("body", str), endpoint.take("graphql", bool)
    if body is not None:
        check |= {"graphql": {"query": body}} if is_graphql and method == "post" else {"body": body}
    if not client.take("ignore-redirect", bool):
        check["follow_redirects"] = True
    proxy = client.take("proxy-url", str)
    if proxy is not None:
        check["proxy"] = proxy
    tls = _own_certificate(client)
    if tls:
        check["tls"] = tls
    oauth2 = client.part("oauth2")
    token_url = oauth2.take("token-url", str)
    if token_url is not None:
        check["auth"] = {
            "oauth2": {
                "token_url": token_url,
                "client_id": oauth2.take("client-id", str) or "",
                "client_secret": oauth2.take("client-secret", str) or "",
                "scopes": oauth2.texts("scopes"),
            }
        }
    oauth2.leave_rest()
    return check | {"expect": _expected(endpoint, OF_HTTP) or "true"}


def _headers(endpoint: Part) -> dict[str, str]:
    headers = endpoint.take("headers", dict) or {}
    return {str(name): str(value) for name, value in headers.items()}


def _own_certificate(client: Part) -> Keys:
    tls = client.part("tls")
    names = {"cert_file": "certificate-file", "key_file": "private-key-file"}
    found = {ours: tls.take(theirs, str) for ours, theirs in names.items()}
    tls.leave_rest({"renegotiation": "TLS is not renegotiated"})
    return {key: path for key, path in found.items() if path is not None}


def _tcp(endpoint: Part, url: str) -> Keys:
    check: Keys = {"kind": "tcp", **address(url)}
    body = endpoint.take("body", str)
    if body is not None:
        check["send"] = body
    for place, condition in _conditions(endpoint):
        found = re.fullmatch(r"\[BODY\] == pat\(\*([^*?\[\]\\]+)\*\)", condition)
        if found and "expect" not in check:
            check["expect"] = found[1]
        else:
            _left_unless_implied(endpoint, place, condition)
    return check


def _tls(endpoint: Part, client: Part, url: str) -> Keys:
    check: Keys = {"kind": "tls", **address(url), **_own_certificate(client)}
    if url.startswith("starttls:"):
        check["starttls"] = "smtp"
    return check | {"expect": _expected(endpoint, OF_TLS) or "days > 0"}


def _dns(endpoint: Part, dns: Part, url: str, queried: str) -> Keys:
    kind = dns.take("query-type", str) or "A"
    dns.leave_rest()
    expected = _expected(endpoint, OF_DNS)
    server = url.partition("://")[2] or url
    return {"kind": "dns", "name": queried, "type": kind, "server": server, "expect": expected or "true"}


def _websocket(endpoint: Part, url: str) -> Keys:
    check: Keys = {"kind": "websocket", "url": url}
    headers, body = _headers(endpoint), endpoint.take("body", str)
    if headers:
        check["headers"] = headers
    if body is not None:
        check["send"] = body
    expected = _expected(endpoint, OF_WEBSOCKET)
    return check | ({"expect": expected} if expected else {})


def _grpc(endpoint: Part, url: str) -> Keys:
    for place, condition in _conditions(endpoint):
        _left_unless_implied(endpoint, place, condition)
    tls: Keys = {"tls": {}} if url.startswith("grpcs:") else {}
    return {"kind": "grpc", **address(url), **tls}


def _conditions(endpoint: Part) -> list[tuple[str, str]]:
    return [(f"conditions[{n}]", text) for n, text in enumerate(endpoint.texts("conditions"))]


def _expected(endpoint: Part, dialect: Dialect) -> str:
    """Every condition that can be said, as one conjunction."""
    terms = []
    for place, condition in _conditions(endpoint):
        try:
            terms.append(as_cel(condition, dialect))
        except NoEquivalent as error:
            endpoint.leave(place, f"`{condition}`: {error}")
    return " && ".join(term for term in terms if term)


def _left_unless_implied(endpoint: Part, place: str, condition: str) -> None:
    try:
        as_cel(condition, OF_OTHERS)
    except NoEquivalent as error:
        endpoint.leave(place, f"`{condition}`: {error}")


def _channels(alerting: Part, imported: Imported) -> None:
    channels: Keys = {}
    slack, pagerduty = alerting.part("slack"), alerting.part("pagerduty")
    webhook, key = slack.take("webhook-url", str), pagerduty.take("integration-key", str)
    if webhook is not None:
        channels["slack"] = {"kind": "slack", "webhook": webhook}
    if key is not None:
        channels["pagerduty"] = {"kind": "pagerduty", "routing_key": key}
    for part in (slack, pagerduty):
        part.leave_rest(
            {
                "default-alert": _ENDPOINT["alerts"],
                "overrides": "one channel of the kind is made; write more under channels",
            }
        )
    alerting.leave_rest(dict.fromkeys(alerting.keys(), _TOP["alerting"]))
    if channels:
        imported.configuration["channels"] = channels
    if len(channels) == 2:
        imported.configuration["alerts"] = {"default": ["slack"], "page": ["pagerduty"]}

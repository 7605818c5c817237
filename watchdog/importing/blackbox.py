"""Modules of blackbox_exporter as checks, or as modules of our own `/probe`.

Source: CONFIGURATION.md of blackbox_exporter (github.com/prometheus/blackbox_exporter) and, for what a module
takes as success, its prober/*.go. Patterns are RE2 in both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from config.values import written_duration
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

# Prometheus' own: a minute between two scrapes, ten seconds for one (of which blackbox leaves half a second).
_EVERY_S, _TIMEOUT_S = 60.0, 9.5
_SUCCESS = "status >= 200 && status < 300"
_ADDRESSES = {
    "preferred_ip_protocol": "the order of addresses is the system's",
    "ip_protocol_fallback": "the order of addresses is the system's",
    "source_ip_address": "the system chooses the address to connect from",
}
_HTTP = _ADDRESSES | {
    "valid_http_versions": "HTTP/1.1 is spoken",
    "enable_http2": "HTTP/1.1 is spoken",
    "enable_http3": "HTTP/1.1 is spoken",
    "compression": "what the server compresses is unpacked",
    "body_file": "write the text itself as body",
    "no_proxy": "a proxy of the check is always used",
    "proxy_from_environment": "write proxy",
    "proxy_connect_header": "a proxy gets no headers of its own",
    "skip_resolve_phase_with_proxy": "with a proxy names are always resolved by it",
    "fail_if_body_json_matches_cel": "write the expression under expect; `body` is called json here",
    "fail_if_body_json_not_matches_cel": "write the expression under expect; `body` is called json here",
}
_TLS = {
    "insecure_skip_verify": "certificates are always verified; write the authority's file as ca_file",
    "min_version": "TLS 1.2 is the oldest; write `version` in the expect of kind tls",
    "max_version": "write `version` in the expect of kind tls",
}
_BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
# What is said before the handshake -> the protocol.
_STARTTLS = (("AUTH TLS", "ftp"), ("STLS", "pop3"), ("EHLO", "smtp"), ("STARTTLS", "imap"))
# What must not be, or must be, of the records of the answer.
_RECORDS = {
    "fail_if_matches_regexp": "!answers.exists(answer, {})",
    # Whatever its name says, the exporter fails unless all match (prober/dns.go, up to 0.27 at least).
    "fail_if_all_match_regexp": "answers.all(answer, {})",
    "fail_if_not_matches_regexp": "size(answers) > 0 && answers.all(answer, {})",
    "fail_if_none_matches_regexp": "answers.exists(answer, {})",
}
# Signs that mean something in a pattern. A dot is one too, but mostly written where a dot is meant.
_SIGNS = re.compile(r"(?<!\\)[$*+?()\[\]{}|^]")


def from_blackbox(text: str, targets: Sequence[tuple[str, str]]) -> Imported:
    """The checks of (module, target) pairs; raises NoEquivalent for a module that is not there."""
    imported = Imported()
    root = Part(document(text.replace("${", "$${")), "", imported.left)
    modules = root.take("modules", dict) or {}
    root.leave_rest()
    unknown = sorted({module for module, _ in targets} - modules.keys())
    if unknown:
        raise NoEquivalent(f"there is no module `{unknown[0]}`; modules: {', '.join(modules) or 'none'}")
    for name in modules:
        if name not in {module for module, _ in targets}:
            root.leave(f"modules.{name}", "no target is given for it (--module NAME --target TARGET)")
    for name, target in targets:
        part = Part(modules[name], f"modules.{name}", imported.left)
        try:
            check = _check(part, target)
            problem = complaint(check)
            if problem is not None:
                raise NoEquivalent(problem)
        except NoEquivalent as error:
            part.leave("", f"{target}: {error}")
            continue
        imported.put(_host(target), name, check)
    # What a module leaves it leaves for each of its targets.
    imported.left = list(dict.fromkeys(imported.left))
    if "services" not in imported.configuration:
        raise NoEquivalent("no module could become a check")
    return imported


def _check(part: Part, target: str) -> Keys:
    prober = part.take("prober", str) or ""
    check: Keys = {
        "kind": "",
        "every": written_duration(_EVERY_S),
        "timeout": duration_of(part, "timeout", _TIMEOUT_S),
    }
    if prober not in _PROBERS:
        raise NoEquivalent(f"no kind of check probes by {prober or 'nothing'}")
    options = part.part(prober)
    check |= _PROBERS[prober](options, target)
    options.leave_rest(_HTTP if prober == "http" else _ADDRESSES)
    # Empty sections of other probers are common, and mean nothing.
    part.leave_rest()
    return check


def _host(target: str) -> str:
    return urlsplit(target if "://" in target else f"//{target}").hostname or target


def _http(options: Part, target: str) -> Keys:
    url = target if target.startswith(("http://", "https://")) else f"http://{target}"
    method = method_key(options.take("method", str))
    check: Keys = {"kind": "http", method: url}
    headers = {str(name): str(value) for name, value in (options.take("headers", dict) or {}).items()}
    body = options.take("body", str)
    if body:
        check["body"] = body
    limit = options.take("body_size_limit", str)
    if limit and limit != "0":
        check["body_bytes_max"] = _bytes(limit)
    follows = options.take("follow_redirects", bool)
    is_held = options.take("no_follow_redirects", bool)
    if follows is not False and not is_held:
        check["follow_redirects"] = True
    proxy = options.take("proxy_url", str)
    if proxy:
        check["proxy"] = proxy
    check |= _credentials(options, headers)
    tls = _tls_files(options)
    if tls and ("follow_redirects" in check or url.startswith("https:")):
        check["tls"] = tls
    if headers:
        check["headers"] = headers
    return check | {"expect": _expected(options)}


def _credentials(options: Part, headers: dict[str, str]) -> Keys:
    """`auth`, or a header where the token stands in the file."""
    basic, bearer = options.part("basic_auth"), options.part("authorization")
    name, word = basic.take("username", str), basic.take("password", str)
    word_file = basic.take("password_file", str)
    scheme, token = bearer.take("type", str) or "Bearer", bearer.take("credentials", str)
    token_file = bearer.take("credentials_file", str)
    for part in (basic, bearer):
        part.leave_rest()
    token = token or options.take("bearer_token", str)
    token_file = token_file or options.take("bearer_token_file", str)
    if name:
        password = f"file:{word_file}" if word_file else word or ""
        return {"auth": {"basic": {"username": name, "password": password}}}
    if token:
        headers["Authorization"] = f"{scheme} {token}"
    elif token_file:
        return {"auth": {"bearer_file": token_file}}
    return _oauth2(options.part("oauth2"))


def _oauth2(part: Part) -> Keys:
    url = part.take("token_url", str)
    if url is None:
        return {}
    secret_file = part.take("client_secret_file", str)
    secret = part.take("client_secret", str) or ""
    found: Keys = {
        "token_url": url,
        "client_id": part.take("client_id", str) or "",
        "client_secret": f"file:{secret_file}" if secret_file else secret,
        "scopes": part.texts("scopes"),
    }
    tls = _tls_files(part)
    part.leave_rest({"endpoint_params": "a token is asked for with scopes only"})
    return {"auth": {"oauth2": found | ({"tls": tls} if tls else {})}}


def _tls_files(options: Part) -> Keys:
    tls = options.part("tls_config")
    found = {key: tls.take(key, str) for key in ("ca_file", "cert_file", "key_file", "server_name")}
    tls.leave_rest(_TLS)
    return {key: value for key, value in found.items() if value}


def _expected(options: Part) -> str:
    """What the module takes as success, as one conjunction."""
    codes = options.take("valid_status_codes", list) or []
    terms = [f"status in {json.dumps(codes)}" if codes else _SUCCESS]
    if options.take("fail_if_ssl", bool):
        terms.append('tls == duration("0s")')
    if options.take("fail_if_not_ssl", bool):
        terms.append('tls > duration("0s")')
    for key, sign in (("matches", "!"), ("not_matches", "")):
        patterns = options.texts(f"fail_if_body_{key}_regexp")
        terms += [f"{sign}text.matches({json.dumps(pattern)})" for pattern in patterns]
        terms += [_header_term(header, sign) for header in options.parts(f"fail_if_header_{key}")]
    return " && ".join(terms)


def _header_term(header: Part, sign: str) -> str:
    name = json.dumps((header.take("header", str) or "").lower())
    pattern, may_miss = header.take("regexp", str) or "", header.take("allow_missing", bool)
    header.leave_rest()
    term = f"{sign}headers[{name}].matches({json.dumps(pattern)})"
    # Without the question a header that is not there fails, as it does there.
    return f"(!({name} in headers) || {term})" if may_miss else term


def _tcp(options: Part, target: str) -> Keys:
    at = address(f"//{target}")
    turns = [
        {key: turn.take(key, bool if key == "starttls" else str) for key in ("expect", "send", "starttls")}
        for turn in options.parts("query_response")
    ]
    is_tls, tls = options.take("tls", bool), _tls_files(options)
    if any(turn["starttls"] for turn in turns):
        return {"kind": "tls", **at, **tls, "starttls": _protocol(options, turns), "expect": "days > 0"}
    if is_tls and not turns:
        return {"kind": "tls", **at, **tls, "expect": "days > 0"}
    if tls and is_tls:
        raise NoEquivalent("kind tcp takes no tls_config")
    check: Keys = {"kind": "tcp", **at} | ({"tls": True} if is_tls else {})
    return check | _dialogue(options, turns)


def _protocol(options: Part, turns: Sequence[Mapping[str, Any]]) -> str:
    before = turns[: [bool(turn["starttls"]) for turn in turns].index(True)]
    said = " ".join(str(turn["send"] or "").upper() for turn in before)
    if len(turns) > len(before) + 1:
        options.leave("query_response", "what is said after the handshake is left out")
    for words, protocol in _STARTTLS:
        if words in said:
            return protocol
    raise NoEquivalent("starttls of a protocol that is not known here")


def _dialogue(options: Part, turns: Sequence[Mapping[str, Any]]) -> Keys:
    """What is sent and what must be heard; there an entry hears first and sends then, a line each."""
    said = [(key, str(turn[key])) for turn in turns for key in ("expect", "send") if turn[key]]
    while said and said[-1][0] == "send" and len(said) > 1:
        # Nobody listens for an answer any more.
        said.pop()
    check: Keys = {}
    if said and said[0][0] == "send":
        check["send"] = f"{said.pop(0)[1]}\n"
    if said:
        check["expect"] = _plain(options, said.pop(0)[1])
    if said:
        raise NoEquivalent("a dialogue of several turns")
    return check


def _plain(options: Part, pattern: str) -> str:
    """The text that a pattern without signs is; kind tcp waits for a text."""
    inner = pattern.removeprefix("^").removesuffix(".*").removesuffix("$")
    if _SIGNS.search(inner) or re.search(r"\\[A-Za-z0-9]", inner):
        raise NoEquivalent(f"kind tcp waits for a text, not for the pattern `{pattern}`")
    text = re.sub(r"\\(.)", r"\1", inner)
    if text != pattern:
        options.leave("query_response", f"`{pattern}` is waited for as the text `{text}`, wherever it stands")
    return text


def _dns(options: Part, target: str) -> Keys:
    kind = options.take("query_type", str) or "ANY"
    rcodes = options.texts("valid_rcodes") or ["NOERROR"]
    terms = [f"rcode in {json.dumps(rcodes)}"]
    answers = options.part("validate_answer_rrs")
    for key, form in _RECORDS.items():
        for pattern in answers.texts(key):
            if pattern.startswith("^") or "\\t" in pattern:
                answers.leave(key, f"`{pattern}`: an answer here is the record alone, without name and type")
            else:
                terms.append(form.format(f"answer.matches({json.dumps(pattern)})"))
                if key == "fail_if_all_match_regexp":
                    answers.leave(key, "the exporter fails unless all match, and so does the check")
    answers.leave_rest()
    check: Keys = {"kind": "dns", "name": options.take("query_name", str) or "", "type": kind}
    transport = options.take("transport_protocol", str)
    if transport and transport.startswith("tcp"):
        check["transport"] = "tcp"
    return check | {"server": target, "expect": " && ".join(terms)}


def _grpc(options: Part, target: str) -> Keys:
    check: Keys = {"kind": "grpc", **address(f"//{target}")}
    service, tls = options.take("service", str), _tls_files(options)
    if service:
        check["service"] = service
    return check | ({"tls": tls} if options.take("tls", bool) else {})


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text)
    if found is None or (found[2] or "B").upper() not in _BYTES:
        raise NoEquivalent(f"body_size_limit `{text}` is not a size")
    return int(float(found[1]) * _BYTES[(found[2] or "B").upper()])


_PROBERS = {"http": _http, "tcp": _tcp, "dns": _dns, "grpc": _grpc}

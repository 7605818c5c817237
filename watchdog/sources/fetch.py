"""One bounded HTTP exchange: whatever a metric source is answered with, as bytes or as one typed miss."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp

from watchdog.sources.unreadable import TooLarge, Unreadable

_RETRY_AFTER_MAX_S = 300.0
_CHUNK_BYTES = 65_536


def open_session(headers: Mapping[str, str], connections_max: int) -> aiohttp.ClientSession:
    """A session for `fetch`: no cookies, nothing taken from the environment, nothing decompressed.

    Deadlines are the caller's. Must be called in a running loop.
    """
    return aiohttp.ClientSession(
        headers={"Accept-Encoding": "identity", **headers},
        connector=aiohttp.TCPConnector(limit=connections_max),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        auto_decompress=False,
    )


async def fetch(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    body_bytes_max: int,
) -> tuple[int, str, bytes]:
    """(status, content type in lower case without parameters, body) of a 2xx or 4xx answer.

    Redirects are not followed: a metrics endpoint that points elsewhere is not the one configured. The limit
    holds for the decompressed body and is enforced while it arrives. Raises Unreadable, or TooLarge.
    """
    shown = without_secrets(url)
    try:
        async with session.request(method, url, data=form, allow_redirects=False) as response:
            if response.status in (401, 403):
                raise Unreadable(f"{shown} refuses our credentials ({response.status}): check the secret")
            if 300 <= response.status < 400:
                raise Unreadable(f"{shown} redirects ({response.status}): configure the address it points to")
            if response.status == 429 or response.status >= 500:
                raise Unreadable(
                    f"{shown} answered {response.status}", _retry_after_s(response.headers.get("Retry-After"))
                )
            return (
                response.status,
                response.content_type.lower(),
                await _body(response, body_bytes_max, shown),
            )
    except aiohttp.ClientConnectorDNSError as error:
        raise Unreadable(f"{shown}: the host name cannot be resolved") from error
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise Unreadable(f"{shown}: no TLS connection ({type(error).__name__})") from error
    except aiohttp.ClientOSError as error:
        raise Unreadable(f"{shown}: no connection ({error.strerror or type(error).__name__})") from error
    except aiohttp.ClientPayloadError as error:
        raise Unreadable(f"{shown}: the answer broke off") from error
    except aiohttp.ClientError as error:
        # The class says what happened; the text of some of them repeats the URL with its secrets.
        raise Unreadable(f"{shown}: no HTTP answer ({type(error).__name__})") from error


async def _body(response: aiohttp.ClientResponse, body_bytes_max: int, shown: str) -> bytes:
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip"):
        raise Unreadable(f"{shown} answers in Content-Encoding {encoding[:20]!r}, which was not asked for")
    # 31: a gzip header and the largest window (zlib's manual, inflateInit2).
    inflater = zlib.decompressobj(31) if encoding == "gzip" else None
    body = bytearray()
    async for piece in response.content.iter_chunked(_CHUNK_BYTES):
        if inflater is None:
            body += piece
        else:
            try:
                # Asking for one byte more than allowed bounds a bomb: the rest stays compressed.
                body += inflater.decompress(piece, body_bytes_max + 1 - len(body))
            except zlib.error as error:
                raise Unreadable(f"{shown}: the answer is not gzip though it says so") from error
        if len(body) > body_bytes_max:
            raise TooLarge(f"{shown} answers with more than {body_bytes_max / 1e6:.0f} MB")
    if inflater is not None and not inflater.eof:
        raise Unreadable(f"{shown}: the answer broke off")
    return bytes(body)


def without_secrets(url: str) -> str:
    """The URL as it may be shown: without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check_url(key: str, url: str) -> None:
    """Raise ValueError unless `url` is an absolute http(s) address without user and password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{key}: {without_secrets(url)!r} is not an address. Write http://host:port")
    if "@" in parts.netloc:
        raise ValueError(f"{key}: holds a user or password. Move them to `basic_auth` (${{ENV}} or file:)")


def _retry_after_s(header: str | None) -> float:
    """Seconds of a Retry-After header, at most 300; 0 without one, or for its date form."""
    if header is None or not header.strip().isdigit():
        return 0.0
    return min(float(header), _RETRY_AFTER_MAX_S)

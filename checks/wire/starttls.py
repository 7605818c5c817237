"""What is said before TLS begins on a connection that starts in the clear.

Each dialogue leaves the connection at the point where the handshake may begin, or raises NotOffered.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping

from checks.expressions.values import show

LINES_MAX = 100  # of one reply
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class NotOffered(Exception):
    """The server does not offer TLS, or speaks another protocol; says what it answered."""


async def _smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RFC 3207 section 4, with a literal for our name as RFC 5321 section 4.1.3 has it."""
    await _reply(reader, "220")
    address = writer.get_extra_info("sockname")[0]
    await _say(writer, f"EHLO [{'IPv6:' if ':' in address else ''}{address}]")
    offered = await _reply(reader, "250")
    if not any(line[4:].strip().upper() == "STARTTLS" for line in offered):
        raise NotOffered("the server does not offer STARTTLS")
    await _say(writer, "STARTTLS")
    await _reply(reader, "220")


async def _ftp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RFC 4217 section 4."""
    await _reply(reader, "220")
    await _say(writer, "AUTH TLS")
    await _reply(reader, "234")


async def _imap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RFC 2595 section 3.1; untagged lines may come before the tagged one."""
    await _line(reader, "* OK")
    await _say(writer, "a1 STARTTLS")
    for _ in range(LINES_MAX):
        line = await _line(reader)
        if not line.startswith("*"):
            break
    _expect(line, "a1 OK")


async def _pop3(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RFC 2595 section 4."""
    await _line(reader, "+OK")
    await _say(writer, "STLS")
    await _line(reader, "+OK")


async def _postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """PostgreSQL manual, message flow, SSL session encryption: SSLRequest, answered by `S` or `N`."""
    writer.write(_SSL_REQUEST)
    await writer.drain()
    answer = await reader.read(1)
    if answer == b"N":
        raise NotOffered("the server does not offer TLS")
    _expect(answer.decode("ascii", "replace"), "S")


# As written in configuration -> what is said.
DIALOGUES: Mapping[str, Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]] = {
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ftp": _ftp,
    "postgres": _postgres,
}


async def _say(writer: asyncio.StreamWriter, line: str) -> None:
    writer.write(f"{line}\r\n".encode())
    await writer.drain()


async def _reply(reader: asyncio.StreamReader, code: str) -> list[str]:
    """The lines of a reply as SMTP and FTP have them: all but the last go on with `-` after the code."""
    lines: list[str] = []
    for _ in range(LINES_MAX):
        lines.append(await _line(reader))
        # Between the first and the last line of FTP (RFC 959 section 4.2) there may be any text.
        if lines[-1][:3] == lines[0][:3] and lines[-1][3:4] != "-":
            break
    _expect(lines[-1], code)
    return lines


async def _line(reader: asyncio.StreamReader, expected: str = "") -> str:
    try:
        line = (await reader.readline()).decode("ascii", "replace").rstrip("\r\n")
    except ValueError:
        raise NotOffered("the server sent a line without end") from None
    _expect(line, expected)
    return line


def _expect(line: str, expected: str) -> None:
    if not line.upper().startswith(expected.upper()):
        raise NotOffered(f"expected {show(expected)}, it said {show(line) if line else 'nothing'}")

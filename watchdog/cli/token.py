"""`deploy-watchdog token NAME --scope deploy`: a new API token and the lines that let it in."""

from __future__ import annotations

import argparse
import hashlib
import secrets

from watchdog.cli import exits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `token`."""
    parser.add_argument("name", help="who will use it, e.g. ci")
    parser.add_argument(
        "--scope", action="append", choices=("read", "deploy", "approve", "admin"), help="may be repeated"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the token once, and its hash as configuration; nothing is stored."""
    token = "dw_" + secrets.token_urlsafe(32)
    scopes = ", ".join(arguments.scope or ["read"])
    print(f"token (shown once, give it to {arguments.name}):\n  {token}\n")
    print("configuration (only the hash is kept):")
    print("api:\n  tokens:")
    print(f"    {arguments.name}:")
    print(f"      hash: sha256:{hashlib.sha256(token.encode()).hexdigest()}")
    print(f"      scopes: [{scopes}]")
    return exits.HEALTHY

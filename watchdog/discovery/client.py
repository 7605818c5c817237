"""prometheus-api-client for commands that a person waits for: `init`, and `validate --online`.

A blocking library, so it runs in a thread with a deadline of its own. What is judged comes through
`PrometheusSource`; a test holds both against one server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from watchdog.sources.prometheus import PrometheusSource

REQUEST_S = 10.0
# What the client says of a query that Prometheus cannot parse or carry out.
_BAD_QUERY = ("refused: HTTP Status Code 400", "refused: HTTP Status Code 422")

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure(Generic[K]):
    """Why there is no answer. about: the question, None if it concerns all of them."""

    about: K | None
    text: str


def connect(source: PrometheusSource) -> PrometheusConnect:
    """A client that shows the same credentials as the source does."""
    headers = dict(source.headers)
    user = password = None
    if source.bearer_token is not None:
        headers["Authorization"] = f"Bearer {source.bearer_token.get_secret_value()}"
    if source.basic_auth is not None:
        user, _, password = source.basic_auth.get_secret_value().partition(":")
    return PrometheusConnect(
        url=source.url.rstrip("/"),
        headers=headers,
        auth=None if user is None else (user, password),
        retry=Retry(total=0),
        timeout=REQUEST_S,
    )


def ask_each(
    questions: Mapping[K, Callable[[], Iterable[T]]], timeout_s: float
) -> tuple[list[T], list[Failure[K]]]:
    """Ask one question after the other: the answers, and why there are no others.

    In a thread that is left behind when it takes too long: a blocking socket cannot be cancelled. What
    concerns the server ends the questions, what it cannot carry out only the one.
    """
    answers: list[T] = []
    failures: list[Failure[K]] = []

    def ask() -> None:
        for about, question in questions.items():
            try:
                answers.extend(question())
            except PrometheusApiClientException as error:
                text = f"refused: {str(error)[:200]}"
                failures.append(Failure(about if text.startswith(_BAD_QUERY) else None, text))
            except requests.RequestException as error:
                # The text of these errors repeats the URL with its query.
                failures.append(Failure(None, f"no answer ({type(error).__name__})"))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                failures.append(Failure(None, f"the answer is not Prometheus's ({type(error).__name__})"))
            if failures and failures[-1].about is None:
                return

    thread = threading.Thread(target=ask, name="ask-prometheus", daemon=True)
    thread.start()
    thread.join(timeout_s)
    # Copies: the thread may still add to them.
    given, refused = list(answers), list(failures)
    if thread.is_alive():
        refused.append(Failure(None, f"no answer within {timeout_s:g} s"))
    return given, refused

"""Whatever stands in a configuration: it loads, or it is refused with a place; nothing else happens."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import config
from config.reading import read
from watchdog.kinds import KINDS

COMPLETE = Path(__file__).parents[3] / "config" / "examples" / "complete.yaml"
TREE = read([COMPLETE])[0].value
TREE["databases"]["orders"]["dsn"] = TREE["databases"]["payments"]["dsn"] = "postgresql://u:p@orders/db"
ENVIRON = {
    "DEPLOY_EVENTS_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "DEPLOYER_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "SLACK_WEBHOOK": "https://hooks.slack.com/services/T0/B0/x",
    "PD_KEY": "0123456789abcdef0123456789abcdef",
    "LOGIN_SECRET": "client-secret-1",
    "REDIS_URL": "redis://watchdog:SECRETCANARY@redis/0",
    "ORDERS_REPLICA_DSN": "postgresql://u:SECRETCANARY@orders-replica/db",
    "STOCK_DSN": "mysql://u:SECRETCANARY@stock/db",
}
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    7,
    1.5,
    1e308,
    "",
    " ",
    "5m",
    "x",
    "${",
    "é\u2028",
    "a: b",
    [],
    [1],
    [[]],
    {},
]
VALUES += [
    {"kind": "http"},
    {"kind": []},
    {"": None},
    {"x": {"y": [None]}},
    ["x", "x"],
    "x" * 5000,
    "http://[",
    "$.[",
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in paths(item, (*path, key)))]


def refusal(file: Path) -> config.ConfigError | None:
    try:
        config.load([file], KINDS, ENVIRON)
    except config.ConfigError as error:
        return error
    return None


PATHS = paths(TREE)[1:]
VALIDATOR = Draft202012Validator(config.json_schema(KINDS))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(PATHS), st.sampled_from(["set", "add", "drop"]), st.sampled_from(VALUES)),
        min_size=1,
        max_size=3,
    )
)
def test_any_value_anywhere_loads_or_is_refused(
    tmp_path: Path, changes: list[tuple[tuple[Any, ...], str, Any]]
) -> None:
    tree = copy.deepcopy(TREE)
    for path, what, value in changes:
        holder: Any = tree
        try:
            for key in path[:-1]:
                holder = holder[key]
            if what == "set":
                holder[path[-1]] = copy.deepcopy(value)
            elif what == "drop":
                del holder[path[-1]]
            elif isinstance(holder, dict):
                holder["unheard_of"] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            # An earlier change took the place away.
            continue
    file = tmp_path / "watchdog.yaml"
    file.write_text(json.dumps(tree))
    error = refusal(file)
    if error is None:
        # The loader is never more lenient than the schema shown in editors.
        VALIDATOR.validate(tree)
    else:
        assert error.problems
        assert all(problem.path or problem.line for problem in error.problems)
        assert str(error)

"""Databases whose tables can be compared: one file and one line here for each dialect."""

from __future__ import annotations

from collections.abc import Mapping

from checks.comparison.engines.engine import Engine
from checks.comparison.engines.mysql import MysqlEngine
from checks.comparison.engines.postgres import PostgresEngine
from checks.comparison.engines.sqlite import SqliteEngine
from checks.dialect import Dialect

_ENGINES: tuple[Engine, ...] = (MysqlEngine(), PostgresEngine(), SqliteEngine())

ENGINES: Mapping[Dialect, Engine] = {engine.dialect: engine for engine in _ENGINES}

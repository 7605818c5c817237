"""Databases a check may read: one file per kind; a new kind is one file and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks.databases.mysql import Mysql
from checks.databases.postgres import Postgres
from checks.databases.sqlite import Sqlite

# Kind as written in YAML -> dataclass whose fields are its configuration, a `checks.model.Database`.
DATABASES: Mapping[str, type[Any]] = {"mysql": Mysql, "postgres": Postgres, "sqlite": Sqlite}

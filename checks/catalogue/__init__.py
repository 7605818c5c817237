"""What a database's catalogue holds, and what a change of it means for the version before it.

`read` takes a snapshot, `compare` says what changed between two, `worst` what that comes to for running the
previous version on the new schema. A snapshot and a change are plain dataclasses that `to_json` and
`from_json` keep and give back.
"""

from __future__ import annotations

from checks.catalogue.comparing import Change, compare, worst
from checks.catalogue.model import Snapshot, from_json, to_json
from checks.catalogue.reading import read
from checks.catalogue.rules import Verdict

__all__ = ["Change", "Snapshot", "Verdict", "compare", "from_json", "read", "to_json", "worst"]

"""`python -m tests.guards`: remove every guard in turn; exit 1 when one is missed by its tests."""

from __future__ import annotations

import argparse
import sys

from tests.guards.campaign import baseline, campaign
from tests.guards.page import PAGE, page
from tests.guards.table import ROOT, Guard, guards


def main() -> int:
    """Exit 0 if every guard is proved, 1 if one is not, 2 if there is nothing to prove it with."""
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__)
    parser.add_argument("only", nargs="*", help="run guards whose name holds one of these texts")
    parser.add_argument("--jobs", type=int, default=2, help="copies used side by side (default 2)")
    parser.add_argument("--markdown", action="store_true", help=f"write {PAGE.relative_to(ROOT)} and end")
    arguments = parser.parse_args()
    table = guards()
    if arguments.markdown:
        PAGE.write_text(page(table))
        return 0
    wanted = [g for g in table if not arguments.only or any(text in g.name for text in arguments.only)]
    if not wanted:
        _say(f"no guard is named like {', '.join(arguments.only)}")
        return 2
    stale = [problem for guard in wanted if (problem := _stale(guard))]
    wrong = "; ".join(stale) or baseline(wanted, jobs=arguments.jobs)
    if wrong:
        _say(wrong)
        return 2
    results = []
    for result in campaign(wanted, jobs=arguments.jobs):
        results.append(result)
        place, took = f"{len(results):3}/{len(wanted)}", f"{result.seconds:5.1f} s"
        _say(f"{place}  {result.outcome:8}  {took}  {result.guard.name}  {result.why}".rstrip())
    unproved = [result.guard.name for result in results if not result.is_proof]
    skipped = sum(result.outcome == "skipped" for result in results)
    _say(
        f"{len(results) - len(unproved) - skipped} of {len(results)} guards are proved, "
        f"{skipped} cannot be tried on this machine"
        + (f"; NOT PROVED: {', '.join(sorted(unproved))}" if unproved else "")
    )
    return 1 if unproved else 0


def _stale(guard: Guard) -> str | None:
    try:
        guard.removed_from((ROOT / guard.file).read_text())
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

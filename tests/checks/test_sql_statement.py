"""Reading SQL just far enough: one query that only reads, and its places."""

from __future__ import annotations

import pytest

from checks.databases.statement import places, refuse_unless_query, respell


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "  -- why\n SELECT 1;  -- done",
        "/* a;b */ with x as (select 1) select * from x ;",
        "values (1), (2)",
        "select ';' as a, \";\" as b, $$;$$ as c, $t$ ; select $t$ as d",
        "(select 1) union (select 2)",
        "select 'into' as \"into\" -- into\n",
    ],
)
def test_one_reading_statement_is_accepted(sql: str) -> None:
    refuse_unless_query(sql)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("", "starts with nothing"),
        ("-- only a comment", "starts with nothing"),
        ("delete from t", "starts with delete"),
        ("explain analyze delete from t", "starts with explain"),
        ("select 1; delete from t", "more than one statement"),
        ("select 1;;select 2", "more than one statement"),
        ("set transaction read write", "starts with set"),
        ("copy t to program 'sh'", "starts with copy"),
        ("select 1 into outfile '/tmp/x'", "holds INTO"),
        ("select * into t2 from t", "holds INTO"),
    ],
)
def test_everything_else_is_refused(sql: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        refuse_unless_query(sql)


def test_places_are_found_outside_texts_comments_and_casts() -> None:
    sql = """select a::text, ':no', ":no", $$ :no $$, $q$ :no $q$, e'\\':no', arr[1:hi], arr[lo:hi] -- :no
             /* :no */ from t where at>:since and at < (:until) and x = :since::date"""
    assert places(sql) == {"since", "until"}
    spelled = respell(sql, lambda name: f"<{name}>")
    assert "at><since> and at < (<until>) and x = <since>::date" in spelled
    assert spelled.count(":no") == sql.count(":no") == 7

"""Reading SQL just far enough: one query that only reads, and its places."""

from __future__ import annotations

import pytest

from checks.databases.statement import bare, listed, places, refuse_unless_asks, refuse_unless_query, respell


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


def test_a_list_is_one_place_for_each_value() -> None:
    sql = "select ':ids', :since from t where id in (:ids) -- :ids"
    assert listed(sql, "ids", [7, 8]) == (
        "select ':ids', :since from t where id in (:ids_0, :ids_1) -- :ids",
        {"ids_0": 7, "ids_1": 8},
    )


def test_what_ends_a_statement_and_follows_is_left_out_in_brackets() -> None:
    assert bare("select ';' from t; -- done") == "select ';' from t"
    assert bare("select 1") == "select 1"


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select :other", ":other has no value; there are :ids and :since"),
        ("select :since", "does not use :ids, which it has to"),
        ("delete from t", "starts with delete"),
    ],
)
def test_a_query_that_asks_for_something_else_is_refused(sql: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        refuse_unless_asks(sql, needs="ids", may=frozenset({"since"}))

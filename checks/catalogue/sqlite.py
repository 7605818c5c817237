"""One statement over sqlite_schema and its pragmas that gives a whole schema, and reading CREATE TABLE.

The pragmas (https://sqlite.org/pragma.html) know nothing of CHECK, COLLATE and the expression of a generated
column; those are taken from the text of CREATE TABLE, which SQLite keeps. Columns of views are left out:
asking for them is an error for all when one view has lost its table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

SQL = r"""
with relations as (
  select l.name, m.type, m.sql, l.wr, l.strict
  from pragma_table_list l join sqlite_schema m on m.name = l.name and m.type in ('table', 'view')
  where l.schema = 'main' and l.type in ('table', 'view', 'virtual')
    and l.name not like 'sqlite\_%' escape '\'
),
tables as (select * from relations where type = 'table')
select 'relation' as part, r.name as relation, '' as name, 0 as place, json_object(
    'kind', r.type, 'definition', r.sql,
    'options', json(case when r.strict then '["strict"]' else '[]' end)) as facts
from relations r
union all
select 'column', r.name, c.name, c.cid, json_object(
    'type', c.type,
    'nullable', json(case when c."notnull" then 'false' else 'true' end),
    'default', c.dflt_value,
    'identity', case when c.pk = 1 and upper(c.type) = 'INTEGER' and not r.wr
                      and (select count(*) from pragma_table_xinfo(r.name) k where k.pk > 0) = 1
                     then 'by default' end)
from tables r, pragma_table_xinfo(r.name) c where c.hidden <> 1
union all
select 'constraint', r.name, 'primary key', 0, json_object(
    'kind', 'primary key',
    'columns', (select json_group_array(k.name)
                from (select c.name from pragma_table_xinfo(r.name) c where c.pk > 0 order by c.pk) k),
    'definition', 'PRIMARY KEY')
from tables r where exists (select 1 from pragma_table_xinfo(r.name) c where c.pk > 0)
union all
select case when i."unique" then 'constraint' else 'index' end, r.name,
  -- The engine's own names count up, so that one key less would rename the others.
  case i.origin when 'c' then i.name
    else 'unique (' || (select group_concat(c.name, ', ') from pragma_index_info(i.name) c) || ')' end,
  0, json_object(
    'kind', 'unique',
    'columns', (select json_group_array(k.name)
                from (select c.name from pragma_index_info(i.name) c where c.name is not null
                      order by c.seqno) k),
    'definition', coalesce((select substr(m.sql, instr(lower(m.sql), ' on ')) from sqlite_schema m
                            where m.type = 'index' and m.name = i.name), 'UNIQUE'))
from tables r, pragma_index_list(r.name) i where i.origin <> 'pk'
union all
select 'constraint', r.name, 'foreign key (' || group_concat(f."from", ', ') || ')', 0, json_object(
    'kind', 'foreign key',
    'columns', json_group_array(f."from"),
    'definition', 'FOREIGN KEY (' || group_concat(f."from", ', ') || ') REFERENCES ' || f."table" || ' ('
                  || coalesce(group_concat(f."to", ', '), '') || ') ON UPDATE ' || f.on_update
                  || ' ON DELETE ' || f.on_delete)
from tables r, pragma_foreign_key_list(r.name) f group by r.name, f.id
union all
select 'trigger', m.tbl_name, m.name, 0, json_object('definition', m.sql)
from sqlite_schema m where m.type = 'trigger'
order by part, relation, place, name
"""

_TOKEN = re.compile(
    r"""\s+ | --[^\n]* | /\*.*?\*/
    | (?P<word>'(?:''|[^'])*' | "(?:""|[^"])*" | `[^`]*` | \[[^\]]*\] | [\w$]+)
    | (?P<mark><>|[<>=!]=|\|\||.)""",
    re.VERBOSE | re.DOTALL,
)
_OF_THE_TABLE = frozenset({"constraint", "check", "unique", "primary", "foreign"})
_CLAUSES: dict[str, Literal["check", "generated", "collation"]] = {
    "check": "check",
    "as": "generated",
    "collate": "collation",
}


def clauses(create_table: str) -> Iterator[tuple[str, Literal["check", "generated", "collation"], str]]:
    """(column, clause, its text) in the order written; the column is empty for a check of the table."""
    for piece in _pieces(create_table):
        is_column = piece[0].lower() not in _OF_THE_TABLE
        column = piece[0].strip("\"`[]'") if is_column else ""
        for word, text in pairwise(piece):
            clause = _CLAUSES.get(word.lower())
            if clause is not None and (text.startswith("(") or clause == "collation"):
                yield column, clause, text


def _pieces(create_table: str) -> list[list[str]]:
    """What stands between the commas of the definition, as words; whatever is in brackets is one word."""
    pieces: list[list[str]] = [[]]
    depth = 0
    for token in _TOKEN.finditer(create_table):
        text = token["word"] or token["mark"]
        if text is None:
            continue
        depth -= text == ")"
        if depth == 1 and text == ",":
            pieces.append([])
        elif depth == 1 and text not in "()":
            pieces[-1].append(text)
        elif depth == 1 and text == "(":
            pieces[-1].append("(")
        elif depth > 1 or (depth == 1 and text == ")"):
            pieces[-1][-1] += text if text in "()" or pieces[-1][-1].endswith("(") else f" {text}"
        depth += text == "("
    return [piece for piece in pieces if piece]

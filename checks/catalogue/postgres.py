"""One statement over pg_catalog that gives a whole schema, as rows (part, relation, name, facts).

The catalogues are described in the PostgreSQL manual, chapter "System Catalogs". What an extension brought
along is left out: it changes with the extension, not with a deploy. `{schemas}` is where the names of schemas
are narrowed.
"""

from __future__ import annotations

ALL_SCHEMAS = "!~ '^pg_' and n.nspname <> 'information_schema'"

SQL = r"""
with spaces as (select n.oid, n.nspname from pg_namespace n where n.nspname {schemas}),
brought as (select classid, objid from pg_depend where deptype = 'e'),
relations as (
  select c.*, s.nspname || '.' || c.relname as name
  from pg_class c join spaces s on s.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'f', 'v', 'm')
    and not exists (select from brought b where b.classid = 'pg_class'::regclass and b.objid = c.oid)
),
tables as (select * from relations where not relispartition)
select 'relation' as part, r.name as relation, '' as name, 0 as place, json_build_object(
    'kind', case r.relkind when 'r' then 'table' when 'p' then 'partitioned table'
                           when 'f' then 'foreign table' when 'v' then 'view' else 'materialized view' end,
    'definition', case when r.relkind in ('v', 'm') then pg_get_viewdef(r.oid)
                       when r.relkind = 'p' then pg_get_partkeydef(r.oid) else '' end,
    'partition_of', (select p.relnamespace::regnamespace || '.' || p.relname || ' '
                            || pg_get_expr(r.relpartbound, r.oid)
                     from pg_inherits i join pg_class p on p.oid = i.inhparent
                     where i.inhrelid = r.oid and r.relispartition),
    'options', array_remove(array[case when r.relrowsecurity then 'row level security' end,
                                  case when r.relforcerowsecurity then 'forced row level security' end], null)
  )::text as facts
from relations r
union all
select 'column', r.name, a.attname, a.attnum, json_build_object(
    'type', format_type(a.atttypid, a.atttypmod),
    'nullable', not a.attnotnull,
    'default', case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end,
    'generated', case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid) end,
    'identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' end,
    'collation', (select l.collname from pg_collation l, pg_type t
                  where l.oid = a.attcollation and t.oid = a.atttypid and a.attcollation <> t.typcollation)
  )::text
from tables r
join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
union all
select 'constraint', r.name, c.conname, 0, json_build_object(
    'kind', case c.contype when 'p' then 'primary key' when 'u' then 'unique' when 'c' then 'check'
                           when 'f' then 'foreign key' else 'exclusion' end,
    'columns', coalesce((select json_agg(a.attname order by k.place)
                         from unnest(c.conkey) with ordinality k(number, place)
                         join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.number), '[]'),
    'definition', pg_get_constraintdef(c.oid)
  )::text
from tables r join pg_constraint c on c.conrelid = r.oid and c.contype in ('p', 'u', 'c', 'f', 'x')
where c.conislocal
union all
select case when i.indisunique then 'constraint' else 'index' end, r.name, x.relname, 0, json_build_object(
    'kind', 'unique',
    'columns', coalesce((select json_agg(distinct a.attname)
                         from pg_depend d
                         join pg_attribute a on a.attrelid = r.oid and a.attnum = d.refobjsubid
                         where d.classid = 'pg_class'::regclass and d.objid = x.oid and d.refobjid = r.oid
                           and d.refobjsubid > 0), '[]'),
    'definition', regexp_replace(pg_get_indexdef(x.oid), '^CREATE (UNIQUE )?INDEX .*? USING ', '\1USING ')
  )::text
from tables r join pg_index i on i.indrelid = r.oid join pg_class x on x.oid = i.indexrelid
where not exists (select from pg_constraint c where c.conindid = x.oid and c.contype in ('p', 'u', 'x'))
union all
select 'trigger', r.name, t.tgname, 0, json_build_object('definition', pg_get_triggerdef(t.oid))::text
from tables r join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal
union all
select 'type', '', s.nspname || '.' || t.typname, 0, json_build_object(
    'kind', case t.typtype when 'e' then 'enum' when 'd' then 'domain' else 'composite' end,
    'values', coalesce((select json_agg(e.enumlabel order by e.enumsortorder)
                        from pg_enum e where e.enumtypid = t.oid), '[]'),
    'definition', case t.typtype
      when 'd' then concat_ws(' ', format_type(t.typbasetype, t.typtypmod), 'DEFAULT ' || t.typdefault,
                              case when t.typnotnull then 'NOT NULL' end,
                              (select string_agg(pg_get_constraintdef(c.oid), ' ' order by c.conname)
                               from pg_constraint c where c.contypid = t.oid and c.contype = 'c'))
      when 'c' then (select string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                                       order by a.attnum)
                     from pg_attribute a
                     where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped)
      else '' end
  )::text
from pg_type t join spaces s on s.oid = t.typnamespace
left join pg_class c on c.oid = t.typrelid
where (t.typtype in ('e', 'd') or c.relkind = 'c')
  and not exists (select from brought b where b.classid = 'pg_type'::regclass and b.objid = t.oid)
union all
select 'routine', '',
  s.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', 0,
  json_build_object('definition', md5(concat_ws('|', pg_get_function_arguments(p.oid),
                                                pg_get_function_result(p.oid), p.prosrc)))::text
from pg_proc p join spaces s on s.oid = p.pronamespace
where not exists (select from brought b where b.classid = 'pg_proc'::regclass and b.objid = p.oid)
union all
select 'sequence', '', s.nspname || '.' || c.relname, 0, json_build_object('definition', concat_ws(' ',
    format_type(q.seqtypid, null), 'INCREMENT', q.seqincrement, 'MINVALUE', q.seqmin, 'MAXVALUE', q.seqmax,
    case when q.seqcycle then 'CYCLE' end))::text
from pg_sequence q join pg_class c on c.oid = q.seqrelid join spaces s on s.oid = c.relnamespace
where not exists (select from pg_depend d
                  where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('e', 'i'))
order by part, relation, place, name
"""

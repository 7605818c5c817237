"""One statement over information_schema that gives a whole schema, as rows (part, relation, name, facts).

For MySQL 8 and MariaDB 10.5 or newer; only columns that both have are used. information_schema shows what
the role may see, so a privilege that is taken away looks like a table that was. `{schemas}` is where the
names of databases are narrowed.
"""

from __future__ import annotations

ALL_SCHEMAS = "= database()"

SQL = """
select 'relation' as part, concat(t.table_schema, '.', t.table_name) as relation, '' as name, 0 as place,
  json_object(
    'kind', case when t.table_type = 'VIEW' then 'view'
                 when t.create_options like '%partitioned%' then 'partitioned table' else 'table' end,
    'definition', coalesce(
      (select v.view_definition from information_schema.views v
       where v.table_schema = t.table_schema and v.table_name = t.table_name),
      (select concat(p.partition_method, ' ', coalesce(max(p.partition_expression), ''))
       from information_schema.partitions p
       where p.table_schema = t.table_schema and p.table_name = t.table_name
         and p.partition_method is not null group by p.partition_method), ''),
    'options', case when t.engine is null then json_array() else json_array(concat('engine ', t.engine)) end
  ) as facts
from information_schema.tables t
where t.table_schema {schemas} and t.table_type in ('BASE TABLE', 'VIEW')
union all
select 'column', concat(c.table_schema, '.', c.table_name), c.column_name, c.ordinal_position, json_object(
    'type', c.column_type,
    'nullable', c.is_nullable = 'YES',
    'default', nullif(c.column_default, 'NULL'),
    'generated', nullif(c.generation_expression, ''),
    'identity', case when c.extra like '%auto_increment%' then 'by default' end,
    'collation', c.collation_name)
from information_schema.columns c
join information_schema.tables t on t.table_schema = c.table_schema and t.table_name = c.table_name
where c.table_schema {schemas} and t.table_type in ('BASE TABLE', 'VIEW')
union all
select case when s.non_unique = 0 then 'constraint' else 'index' end,
  concat(s.table_schema, '.', s.table_name), s.index_name, 0, json_merge_preserve(
    json_object(
      'kind', case when s.index_name = 'PRIMARY' then 'primary key' else 'unique' end,
      'definition', concat(s.index_type, ' (', group_concat(
         concat(coalesce(s.column_name, 'expression'), coalesce(concat('(', s.sub_part, ')'), ''))
         order by s.seq_in_index separator ', '), ')')),
    concat('{"columns": [', coalesce(group_concat(json_quote(s.column_name) order by s.seq_in_index), ''),
           ']}'))
from information_schema.statistics s
where s.table_schema {schemas}
group by s.table_schema, s.table_name, s.index_name, s.non_unique, s.index_type
union all
select 'constraint', concat(k.table_schema, '.', k.table_name), k.constraint_name, 0, json_merge_preserve(
    json_object(
      'kind', 'foreign key',
      'definition', concat(
         'FOREIGN KEY (', group_concat(k.column_name order by k.ordinal_position), ') REFERENCES ',
         k.referenced_table_name, ' (', group_concat(k.referenced_column_name order by k.ordinal_position),
         ') ON UPDATE ', max(r.update_rule), ' ON DELETE ', max(r.delete_rule))),
    concat('{"columns": [', group_concat(json_quote(k.column_name) order by k.ordinal_position), ']}'))
from information_schema.key_column_usage k
join information_schema.referential_constraints r
  on r.constraint_schema = k.constraint_schema and r.constraint_name = k.constraint_name
 and r.table_name = k.table_name
where k.table_schema {schemas} and k.referenced_table_name is not null
group by k.table_schema, k.table_name, k.constraint_name, k.referenced_table_name
union all
-- Natural, because the name of a check is unique in a schema of MySQL, but in a table of MariaDB, which
-- therefore has one column more in common.
select 'constraint', concat(table_schema, '.', table_name), constraint_name, 0,
  json_object('kind', 'check', 'definition', concat('CHECK (', check_clause, ')'))
from information_schema.table_constraints natural join information_schema.check_constraints
where table_schema {schemas} and constraint_type = 'CHECK'
union all
select 'trigger', concat(event_object_schema, '.', event_object_table), trigger_name, 0,
  json_object('definition', concat(action_timing, ' ', event_manipulation, ' ', md5(action_statement)))
from information_schema.triggers where event_object_schema {schemas}
union all
select 'routine', '', concat(r.routine_schema, '.', r.routine_name, ' ', lower(r.routine_type)), 0,
  json_object('definition', md5(concat_ws('|',
    (select group_concat(concat_ws(' ', p.parameter_mode, p.parameter_name, p.dtd_identifier)
                         order by p.ordinal_position)
     from information_schema.parameters p
     where p.specific_schema = r.routine_schema and p.specific_name = r.specific_name),
    r.routine_definition)))
from information_schema.routines r where r.routine_schema {schemas}
union all
select 'sequence', '', concat(t.table_schema, '.', t.table_name), 0, json_object('definition', '')
from information_schema.tables t where t.table_schema {schemas} and t.table_type = 'SEQUENCE'
order by part, relation, place, name
"""

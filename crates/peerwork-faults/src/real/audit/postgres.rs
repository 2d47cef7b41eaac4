//! The audit's triggers on PostgreSQL.

use super::{COLUMNS, triggers, values};

pub(super) fn statements(prefix: &str) -> Vec<String> {
    let mut all = vec![format!(
        "create table {prefix}audit (seq bigserial primary key, at_us bigint not null, conn bigint not null, \
         tbl text not null, op text not null, id uuid not null, status bigint not null, was bigint not null, \
         run_id uuid, node uuid, attempt bigint not null, failures bigint not null, crashes bigint not null, data text)"
    )];
    for (table, name, op, row) in triggers() {
        let values = values(table, row, op, |data| match name {
            "node" => data,
            _ => format!("left(convert_from({data}, 'UTF8'), 200)"),
        });
        let trigger = format!("{prefix}audit_{name}_{op}");
        all.push(format!(
            "create function {trigger}() returns trigger language plpgsql as $$ begin \
             insert into {prefix}audit (at_us, conn, tbl, op, {COLUMNS}) values \
             ((extract(epoch from clock_timestamp()) * 1000000)::bigint, pg_backend_pid(), '{name}', '{op}', {values}); \
             return null; end $$"
        ));
        all.push(format!(
            "create trigger {trigger} after {op} on {prefix}{name} for each row execute function {trigger}()"
        ));
    }
    all
}

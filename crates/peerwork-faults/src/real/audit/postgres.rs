//! The audit's triggers on PostgreSQL.

use super::{BETWEEN, COLUMNS, Part, SETTING_CHANGES, Spells, Table, triggers, values};

struct Spelled;

impl Spells for Spelled {
    const NIL: &'static str = "'00000000-0000-0000-0000-000000000000'::uuid";

    fn part(part: Part, row: &str) -> String {
        match part {
            Part::Bytes(column) => format!("left(convert_from({row}.{column}, 'UTF8'), 200)"),
            Part::Text(column) => format!("{row}.{column}"),
            Part::Id(column) => format!("replace({row}.{column}::text, '-', '')"),
            Part::Number(column) => format!("coalesce({row}.{column}::text, '')"),
        }
    }

    fn join(parts: Vec<String>) -> String {
        parts.join(&format!(" || chr({}) || ", u32::from(BETWEEN)))
    }
}

pub(super) fn statements(prefix: &str) -> Vec<String> {
    let mut all = vec![format!(
        "create table {prefix}audit (seq bigserial primary key, at_us bigint not null, conn bigint not null, \
         tbl text not null, op text not null, id uuid not null, status bigint not null, was bigint not null, \
         run_id uuid, node uuid, attempt bigint not null, failures bigint not null, crashes bigint not null, data text)"
    )];
    for (table, name, op, row) in triggers() {
        let values = values::<Spelled>(table, row, op);
        let only_if = match (table, op) {
            (Table::Setting, "update") => {
                let changed = SETTING_CHANGES
                    .map(|column| format!("old.{column} is distinct from new.{column}"));
                format!("when ({}) ", changed.join(" or "))
            }
            _ => String::new(),
        };
        let trigger = format!("{prefix}audit_{name}_{op}");
        all.push(format!(
            "create function {trigger}() returns trigger language plpgsql as $$ begin \
             insert into {prefix}audit (at_us, conn, tbl, op, {COLUMNS}) values \
             ((extract(epoch from clock_timestamp()) * 1000000)::bigint, pg_backend_pid(), '{name}', '{op}', {values}); \
             return null; end $$"
        ));
        all.push(format!(
            "create trigger {trigger} after {op} on {prefix}{name} for each row {only_if}execute function {trigger}()"
        ));
    }
    all
}

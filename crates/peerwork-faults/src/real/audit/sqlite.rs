//! The audit's triggers on SQLite.

use super::{BETWEEN, COLUMNS, Part, SETTING_CHANGES, Spells, Table, triggers, values};

struct Spelled;

impl Spells for Spelled {
    const NIL: &'static str = "zeroblob(16)";

    fn part(part: Part, row: &str) -> String {
        match part {
            Part::Bytes(column) => format!("substr(cast({row}.{column} as text), 1, 200)"),
            Part::Text(column) => format!("{row}.{column}"),
            Part::Id(column) => format!("lower(hex({row}.{column}))"),
            Part::Number(column) => format!("coalesce({row}.{column}, '')"),
        }
    }

    fn join(parts: Vec<String>) -> String {
        parts.join(&format!(" || char({}) || ", u32::from(BETWEEN)))
    }
}

pub(super) fn statements(prefix: &str) -> Vec<String> {
    let mut all = vec![format!(
        "create table {prefix}audit (seq integer primary key autoincrement, at_us integer not null, \
         conn integer not null, tbl text not null, op text not null, id blob not null, status integer not null, \
         was integer not null, run_id blob, node blob, attempt integer not null, failures integer not null, \
         crashes integer not null, data text)"
    )];
    for (table, name, op, row) in triggers() {
        let values = values::<Spelled>(table, row, op);
        let only_if = match (table, op) {
            (Table::Setting, "update") => {
                let changed =
                    SETTING_CHANGES.map(|column| format!("old.{column} is not new.{column}"));
                format!("when {} ", changed.join(" or "))
            }
            _ => String::new(),
        };
        // One writer at a time: the transactions need no name.
        all.push(format!(
            "create trigger {prefix}audit_{name}_{op} after {op} on {prefix}{name} {only_if}begin \
             insert into {prefix}audit (at_us, conn, tbl, op, {COLUMNS}) values \
             (cast(unixepoch('now', 'subsec') * 1000000 as integer), 0, '{name}', '{op}', {values}); end"
        ));
    }
    all
}

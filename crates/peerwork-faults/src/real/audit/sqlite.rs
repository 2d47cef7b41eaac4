//! The audit's triggers on SQLite.

use super::{COLUMNS, triggers, values};

pub(super) fn statements(prefix: &str) -> Vec<String> {
    let mut all = vec![format!(
        "create table {prefix}audit (seq integer primary key autoincrement, at_us integer not null, \
         conn integer not null, tbl text not null, op text not null, id blob not null, status integer not null, \
         was integer not null, run_id blob, node blob, attempt integer not null, failures integer not null, \
         crashes integer not null, data text)"
    )];
    for (table, name, op, row) in triggers() {
        let values = values(table, row, op, |data| {
            format!("substr(cast({data} as text), 1, 200)")
        });
        // One writer at a time: the transactions need no name.
        all.push(format!(
            "create trigger {prefix}audit_{name}_{op} after {op} on {prefix}{name} begin \
             insert into {prefix}audit (at_us, conn, tbl, op, {COLUMNS}) values \
             (cast(unixepoch('now', 'subsec') * 1000000 as integer), 0, '{name}', '{op}', {values}); end"
        ));
    }
    all
}

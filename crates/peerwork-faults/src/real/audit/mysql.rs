//! The audit's triggers on MariaDB.

use super::{COLUMNS, triggers, values};

pub(super) fn statements(prefix: &str) -> Vec<String> {
    let mut all = vec![format!(
        "create table {prefix}audit (seq bigint not null auto_increment primary key, at_us bigint not null, \
         conn bigint not null, tbl varchar(20) not null, op varchar(20) not null, id binary(16) not null, \
         status bigint not null, was bigint not null, run_id binary(16), node binary(16), attempt bigint not null, \
         failures bigint not null, crashes bigint not null, data varchar(255)) engine=InnoDB default charset=utf8mb4"
    )];
    for (table, name, op, row) in triggers() {
        let values = values(table, row, op, |data| {
            format!("left(convert({data} using utf8mb4), 200)")
        });
        all.push(format!(
            "create trigger {prefix}audit_{name}_{op} after {op} on {prefix}{name} for each row \
             insert into {prefix}audit (at_us, conn, tbl, op, {COLUMNS}) values \
             (cast(unix_timestamp(sysdate(6)) * 1000000 as signed), connection_id(), '{name}', '{op}', {values})"
        ));
    }
    all
}

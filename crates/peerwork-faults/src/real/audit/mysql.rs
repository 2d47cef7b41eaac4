//! The audit's triggers on MariaDB.

use super::{BETWEEN, COLUMNS, Part, SETTING_CHANGES, Spells, Table, triggers, values};

struct Spelled;

impl Spells for Spelled {
    const NIL: &'static str = "repeat(char(0), 16)";

    fn part(part: Part, row: &str) -> String {
        match part {
            Part::Bytes(column) => format!("left(convert({row}.{column} using utf8mb4), 200)"),
            Part::Text(column) => format!("convert({row}.{column} using utf8mb4)"),
            Part::Id(column) => format!("lower(hex({row}.{column}))"),
            Part::Number(column) => format!("ifnull({row}.{column}, '')"),
        }
    }

    fn join(parts: Vec<String>) -> String {
        format!(
            "concat_ws(char({} using utf8mb4), {})",
            u32::from(BETWEEN),
            parts.join(", ")
        )
    }
}

pub(super) fn statements(prefix: &str) -> Vec<String> {
    let mut all = vec![format!(
        "create table {prefix}audit (seq bigint not null auto_increment primary key, at_us bigint not null, \
         conn bigint not null, tbl varchar(20) not null, op varchar(20) not null, id binary(16) not null, \
         status bigint not null, was bigint not null, run_id binary(16), node binary(16), attempt bigint not null, \
         failures bigint not null, crashes bigint not null, data mediumtext) engine=InnoDB default charset=utf8mb4"
    )];
    for (table, name, op, row) in triggers() {
        let values = values::<Spelled>(table, row, op);
        let only_if = match (table, op) {
            (Table::Setting, "update") => {
                let same = SETTING_CHANGES.map(|column| format!("old.{column} <=> new.{column}"));
                format!("if not ({}) then ", same.join(" and "))
            }
            _ => String::new(),
        };
        let end = if only_if.is_empty() { "" } else { "; end if" };
        all.push(format!(
            "create trigger {prefix}audit_{name}_{op} after {op} on {prefix}{name} for each row {only_if}\
             insert into {prefix}audit (at_us, conn, tbl, op, {COLUMNS}) values \
             (cast(unix_timestamp(sysdate(6)) * 1000000 as signed), connection_id(), '{name}', '{op}', {values}){end}"
        ));
    }
    all
}

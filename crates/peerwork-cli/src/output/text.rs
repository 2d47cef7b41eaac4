//! Text for people: tables, and the page of one task.

use super::json::{Payloads, node_state, starts_per_second};
use crate::exit::one_line;
use peerwork::{Failure, Gate, NodeRow, SettingRow, TaskRecord, Timestamp};

/// A table whose columns are as wide as their widest cell. The last one is not padded.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            let missing = width.saturating_sub(cell.chars().count());
            format!("{cell}{}", " ".repeat(missing))
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(head.to_vec());
    let rows = rows
        .iter()
        .map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(head)
        .chain(rows)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Tasks as a table.
pub(crate) fn tasks(records: &[TaskRecord]) -> String {
    let head = [
        "ID", "STATE", "DONE", "USER", "GROUP", "KIND", "CREATED", "NODE",
    ];
    let row = |record: &TaskRecord| {
        vec![
            record.id.to_string(),
            record.state().to_string(),
            percent(record),
            name(record.user.as_str()),
            name(record.group.as_str()),
            name(record.kind.as_str()),
            record.created_at.to_string(),
            record.node.map(|node| node.to_string()).unwrap_or_default(),
        ]
    };
    table(&head, &records.iter().map(row).collect::<Vec<_>>())
}

/// What is set as a table; `now` is the database's.
pub(crate) fn settings(rows: &[SettingRow], now: Timestamp) -> String {
    let head = ["SCOPE", "LIMIT", "PER NODE", "STARTS/S", "WEIGHT", "GATE"];
    let number = |number: Option<u32>| number.map(|n| n.to_string()).unwrap_or_default();
    let row = |row: &SettingRow| {
        let setting = &row.setting;
        let starts = setting
            .starts
            .map(|rate| starts_per_second(rate).to_string());
        vec![
            one_line(&row.scope.to_string()),
            number(setting.max_running),
            number(setting.max_running_per_node),
            starts.unwrap_or_default(),
            number(setting.weight),
            setting.closed(now).map(gate).unwrap_or_default(),
        ]
    };
    table(&head, &rows.iter().map(row).collect::<Vec<_>>())
}

fn gate(gate: &Gate) -> String {
    let mut text = format!("closed since {}", gate.since);
    if let Some(until) = gate.until {
        text += &format!(" until {until}");
    }
    if let Some(by) = &gate.by {
        text += &format!(" by {by}");
    }
    one_line(&format!("{text}: {}", gate.reason))
}

/// Nodes as a table; `now` is the database's.
pub(crate) fn nodes(nodes: &[NodeRow], now: Timestamp) -> String {
    let head = [
        "ID",
        "STATE",
        "HELD",
        "SLOTS",
        "STARTED",
        "LEASE UNTIL",
        "LABEL",
    ];
    let row = |node: &NodeRow| {
        vec![
            node.id.to_string(),
            node_state(node, now).to_owned(),
            node.held.to_string(),
            node.slots.to_string(),
            node.started_at.to_string(),
            node.lease_until.to_string(),
            name(&node.label),
        ]
    };
    table(&head, &nodes.iter().map(row).collect::<Vec<_>>())
}

/// Everything about one task.
pub(crate) fn page(
    record: &TaskRecord,
    failures: &[Failure],
    payloads: Option<&Payloads>,
) -> String {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let mut lines = vec![
        ("id", record.id.to_string()),
        ("kind", name(record.kind.as_str())),
        ("user", name(record.user.as_str())),
        ("group", name(record.group.as_str())),
        ("priority", record.priority.to_string()),
        ("state", format!("{} ({})", record.state(), record.status())),
        ("progress", progress(record)),
        (
            "node",
            record.node.map(|node| node.to_string()).unwrap_or_default(),
        ),
        (
            "parent",
            record
                .parent
                .map(|parent| parent.to_string())
                .unwrap_or_default(),
        ),
        ("attempt", record.task.attempt.to_string()),
        ("failures", record.task.failures.to_string()),
        ("crashes", record.task.crashes.to_string()),
        ("created", record.created_at.to_string()),
        ("wakes", time(record.task.wake_at)),
        ("started", time(record.started_at)),
        ("finished", time(record.finished_at)),
    ];
    for failure in failures {
        let text = format!(
            "attempt {} at {}: {}",
            failure.attempt,
            failure.at,
            one_line(&failure.error)
        );
        lines.push(("error", text));
    }
    if let Some(payloads) = payloads {
        let text = |value: &Option<serde_json::Value>| {
            value.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        lines.push(("input", text(&payloads.input)));
        lines.push(("checkpoint", text(&payloads.checkpoint)));
        lines.push(("output", text(&payloads.output)));
    }
    let lines = lines.into_iter().filter(|(_, value)| !value.is_empty());
    let lines = lines.map(|(key, value)| format!("{key:<10}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A task's change in one line.
pub(crate) fn change(record: &TaskRecord) -> String {
    let node = record.node.filter(|_| record.status().is_held());
    let node = node.map(|node| format!("  on {node}")).unwrap_or_default();
    let error = record.error.as_deref().filter(|_| record.task.failures > 0);
    let error = error
        .map(|error| format!("  {}", one_line(error)))
        .unwrap_or_default();
    format!(
        "{}  {:<13}  {}{node}{error}",
        record.id,
        record.state().name(),
        progress(record)
    )
    .trim_end()
    .to_owned()
}

fn percent(record: &TaskRecord) -> String {
    match record.progress {
        Some(progress) if progress.total > 0 => {
            format!("{} %", progress.done.saturating_mul(100) / progress.total)
        }
        Some(progress) => progress.done.to_string(),
        None => String::new(),
    }
}

fn progress(record: &TaskRecord) -> String {
    match record.progress {
        Some(progress) if progress.total > 0 => {
            format!(
                "{} of {} ({})",
                progress.done,
                progress.total,
                percent(record)
            )
        }
        Some(progress) => progress.done.to_string(),
        None => String::new(),
    }
}

/// A name as a cell: quoted if it could be taken for something else, or could steer a terminal.
pub(crate) fn name(text: &str) -> String {
    // What Rust would escape in a literal is a quote, or does not show.
    let is_plain = |c: char| !c.is_whitespace() && c.escape_debug().count() == 1;
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [
            vec!["long cell".to_owned(), "b".to_owned()],
            vec!["a".to_owned(), String::new()],
        ];
        assert_eq!(table(&["A", "B"], &rows), "A          B\nlong cell  b\na");
    }

    #[test]
    fn a_name_that_could_mislead_is_quoted() {
        assert_eq!(name("ann"), "ann");
        assert_eq!(name("日本"), "日本");
        assert_eq!(name(""), r#""""#);
        assert_eq!(name("a b"), r#""a b""#);
        assert_eq!(name("\u{1b}[2J"), r#""\u{1b}[2J""#);
        assert_eq!(
            name("nna\u{202e}"),
            r#""nna\u{202e}""#,
            "text that runs backwards"
        );
    }
}

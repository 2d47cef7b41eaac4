-- The order of claimable tasks, for nodes that take it from here. Hints: every row may be missing, or be of a task that is gone.
create table {prefix}queue (
    id blob not null primary key,
    lane blob not null,
    rank_no integer not null,
    ready_at integer not null,
    kind integer not null
) strict, without rowid;
create index {prefix}queue_order on {prefix}queue (lane, rank_no, ready_at, id);

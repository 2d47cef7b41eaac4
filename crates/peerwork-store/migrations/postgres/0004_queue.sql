-- The order of claimable tasks, for nodes that take it from here. Hints: every row may be missing, or be of a task that is gone.
create table {schema}{prefix}queue (
    id uuid not null primary key,
    lane uuid not null,
    rank_no integer not null,
    ready_at bigint not null,
    kind bigint not null
);
create index {prefix}queue_order on {schema}{prefix}queue (lane, rank_no, ready_at, id);

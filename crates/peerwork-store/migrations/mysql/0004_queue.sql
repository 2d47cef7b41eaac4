-- The order of claimable tasks, for nodes that take it from here. Hints: every row may be missing, or be of a task that is gone.
create table if not exists {prefix}queue (
    id binary(16) not null primary key,
    lane binary(16) not null,
    rank_no int not null,
    ready_at bigint not null,
    kind bigint not null,
    key {prefix}queue_order (lane, rank_no, ready_at, id)
) engine=InnoDB;

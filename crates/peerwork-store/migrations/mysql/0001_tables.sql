-- Each statement may be run again: MariaDB ends a transaction at each of them.

-- Every task, from its creation to the end of its tombstone. Its row in exactly one of ready, running, parked, done
-- says where it is in its life.
create table if not exists {prefix}task (
    id binary(16) not null primary key,
    lane binary(16) not null,
    created_at bigint not null,
    usr varbinary(255) not null,
    grp varbinary(255) not null,
    kind varbinary(255) not null,
    priority smallint not null,
    options smallint not null,
    parent binary(16),
    input longblob,
    key {prefix}task_created (created_at, id),
    key {prefix}task_usr (usr, created_at, id),
    key {prefix}task_grp (grp, created_at, id),
    key {prefix}task_parent (parent)
) engine=InnoDB;

-- Claimable now; in the order in which it is claimed.
create table if not exists {prefix}ready (
    lane binary(16) not null,
    rank_no int not null,
    ready_at bigint not null,
    id binary(16) not null,
    kind bigint not null,
    status smallint not null,
    attempt bigint not null,
    failures bigint not null,
    crashes bigint not null,
    child smallint not null,
    ended_by binary(16),
    primary key (lane, rank_no, ready_at, id),
    unique key {prefix}ready_id (id)
) engine=InnoDB;

-- Held by a node.
create table if not exists {prefix}running (
    id binary(16) not null primary key,
    run_id binary(16) not null,
    node binary(16) not null,
    lane binary(16) not null,
    kind bigint not null,
    priority smallint not null,
    status smallint not null,
    attempt bigint not null,
    failures bigint not null,
    crashes bigint not null,
    ready_at bigint not null,
    started_at bigint not null,
    child smallint not null,
    -- How many fenced transactions of this run were committed: by it, a lost answer is read back.
    commits bigint not null default 0,
    trial smallint not null default 0,
    key {prefix}running_node (node, status)
) engine=InnoDB;

-- Neither claimable nor held nor over. due_at is the wake_at of those that wake by themselves.
create table if not exists {prefix}parked (
    id binary(16) not null primary key,
    lane binary(16) not null,
    kind bigint not null,
    priority smallint not null,
    status smallint not null,
    returns_to smallint,
    wake_at bigint,
    due_at bigint,
    attempt bigint not null,
    failures bigint not null,
    crashes bigint not null,
    ready_at bigint not null,
    forced smallint not null,
    awaited bigint not null,
    child smallint not null,
    ended_by binary(16),
    key {prefix}parked_due (due_at)
) engine=InnoDB;

-- Over. Deleted ones stay for a day, as tombstones.
create table if not exists {prefix}done (
    id binary(16) not null primary key,
    status smallint not null,
    run_id binary(16),
    node binary(16),
    started_at bigint,
    finished_at bigint not null,
    ready_at bigint not null,
    attempt bigint not null,
    failures bigint not null,
    crashes bigint not null,
    output longblob,
    key {prefix}done_finished (status, finished_at)
) engine=InnoDB;

create table if not exists {prefix}checkpoint (
    task_id binary(16) not null primary key,
    run_id binary(16) not null,
    saved_at bigint not null,
    data longblob,
    done bigint,
    total bigint
) engine=InnoDB;

create table if not exists {prefix}failure (
    task_id binary(16) not null,
    attempt bigint not null,
    failed_at bigint not null,
    error blob not null,
    primary key (task_id, attempt)
) engine=InnoDB;

-- Children that are over, for the parents that wait for them.
create table if not exists {prefix}inbox (
    task_id binary(16) not null,
    source binary(16) not null,
    arrived_at bigint not null,
    seen smallint not null,
    primary key (task_id, source),
    key {prefix}inbox_unseen (seen, task_id)
) engine=InnoDB;

create table if not exists {prefix}node (
    id binary(16) not null primary key,
    label varbinary(255) not null,
    started_at bigint not null,
    seq bigint not null,
    ttl_ms bigint not null,
    lease_until bigint not null,
    alive smallint not null,
    slots bigint not null,
    died_at bigint,
    key {prefix}node_ring (alive, id)
) engine=InnoDB;

create table if not exists {prefix}kind (
    id bigint not null primary key,
    name varbinary(255) not null,
    rules blob not null
) engine=InnoDB;

-- Operations that may be repeated under their ids, for a day: a row for each task with the answer in a, b, c; and, once a whole
-- filter has been gone through, a row without a task and with the sums.
create table if not exists {prefix}op (
    id binary(16) not null,
    task_id binary(16) not null,
    wish varbinary(512) not null,
    a bigint not null,
    b bigint not null,
    c bigint not null,
    asked_at bigint not null,
    primary key (id, task_id),
    key {prefix}op_asked (asked_at)
) engine=InnoDB;

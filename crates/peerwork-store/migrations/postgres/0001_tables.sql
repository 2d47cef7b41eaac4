-- Every task, from its creation to the end of its tombstone. Its row in exactly one of ready, running, parked, done
-- says where it is in its life.
create table {schema}{prefix}task (
    id uuid not null primary key,
    lane uuid not null,
    created_at bigint not null,
    usr text collate "C" not null,
    grp text collate "C" not null,
    kind text collate "C" not null,
    priority smallint not null,
    options smallint not null,
    parent uuid,
    input bytea
);
create index {prefix}task_created on {schema}{prefix}task (created_at, id);
create index {prefix}task_usr on {schema}{prefix}task (usr, created_at, id);
create index {prefix}task_grp on {schema}{prefix}task (grp, created_at, id);
create index {prefix}task_parent on {schema}{prefix}task (parent) where parent is not null;

-- Claimable now; in the order in which it is claimed.
create table {schema}{prefix}ready (
    lane uuid not null,
    rank_no integer not null,
    ready_at bigint not null,
    id uuid not null,
    kind bigint not null,
    status smallint not null,
    attempt bigint not null,
    failures bigint not null,
    crashes bigint not null,
    child smallint not null,
    ended_by uuid,
    primary key (lane, rank_no, ready_at, id)
);
create unique index {prefix}ready_id on {schema}{prefix}ready (id);

-- Held by a node.
create table {schema}{prefix}running (
    id uuid not null primary key,
    run_id uuid not null,
    node uuid not null,
    lane uuid not null,
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
    trial smallint not null default 0
);
create index {prefix}running_node on {schema}{prefix}running (node, status);

-- Neither claimable nor held nor over. due_at is the wake_at of those that wake by themselves.
create table {schema}{prefix}parked (
    id uuid not null primary key,
    lane uuid not null,
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
    ended_by uuid
);
create index {prefix}parked_due on {schema}{prefix}parked (due_at) where due_at is not null;

-- Over. Deleted ones stay for a day, as tombstones.
create table {schema}{prefix}done (
    id uuid not null primary key,
    status smallint not null,
    run_id uuid,
    node uuid,
    started_at bigint,
    finished_at bigint not null,
    ready_at bigint not null,
    attempt bigint not null,
    failures bigint not null,
    crashes bigint not null,
    output bytea
);
create index {prefix}done_finished on {schema}{prefix}done (status, finished_at);

create table {schema}{prefix}checkpoint (
    task_id uuid not null primary key,
    run_id uuid not null,
    saved_at bigint not null,
    data bytea,
    done bigint,
    total bigint
);

create table {schema}{prefix}failure (
    task_id uuid not null,
    attempt bigint not null,
    failed_at bigint not null,
    error text not null,
    primary key (task_id, attempt)
);

-- Children that are over, for the parents that wait for them.
create table {schema}{prefix}inbox (
    task_id uuid not null,
    source uuid not null,
    arrived_at bigint not null,
    seen smallint not null,
    primary key (task_id, source)
);
create index {prefix}inbox_unseen on {schema}{prefix}inbox (task_id) where seen = 0;

create table {schema}{prefix}node (
    id uuid not null primary key,
    label text not null,
    started_at bigint not null,
    seq bigint not null,
    ttl_ms bigint not null,
    lease_until bigint not null,
    alive smallint not null,
    slots bigint not null,
    died_at bigint
);
create index {prefix}node_ring on {schema}{prefix}node (alive, id);

create table {schema}{prefix}kind (
    id bigint not null primary key,
    name text collate "C" not null,
    rules text not null
);

-- Operations that may be repeated under their ids, for a day: a row for each task with the answer in a, b, c; and, once a whole
-- filter has been gone through, a row without a task and with the sums.
create table {schema}{prefix}op (
    id uuid not null,
    task_id uuid not null,
    wish text collate "C" not null,
    a bigint not null,
    b bigint not null,
    c bigint not null,
    asked_at bigint not null,
    primary key (id, task_id)
);
create index {prefix}op_asked on {schema}{prefix}op (asked_at);

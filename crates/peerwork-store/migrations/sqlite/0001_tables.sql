-- Every task, from its creation to the end of its tombstone. Its row in exactly one of ready, running, parked, done
-- says where it is in its life.
create table {prefix}task (
    id blob not null primary key,
    lane blob not null,
    created_at integer not null,
    usr text not null,
    grp text not null,
    kind text not null,
    priority integer not null,
    options integer not null,
    parent blob,
    input blob
) strict;
create index {prefix}task_created on {prefix}task (created_at, id);
create index {prefix}task_usr on {prefix}task (usr, created_at, id);
create index {prefix}task_grp on {prefix}task (grp, created_at, id);
create index {prefix}task_parent on {prefix}task (parent) where parent is not null;

-- Claimable now; in the order in which it is claimed.
create table {prefix}ready (
    lane blob not null,
    rank_no integer not null,
    ready_at integer not null,
    id blob not null,
    kind integer not null,
    status integer not null,
    attempt integer not null,
    failures integer not null,
    crashes integer not null,
    child integer not null,
    ended_by blob,
    primary key (lane, rank_no, ready_at, id)
) strict, without rowid;
create unique index {prefix}ready_id on {prefix}ready (id);

-- Held by a node.
create table {prefix}running (
    id blob not null primary key,
    run_id blob not null,
    node blob not null,
    lane blob not null,
    kind integer not null,
    priority integer not null,
    status integer not null,
    attempt integer not null,
    failures integer not null,
    crashes integer not null,
    ready_at integer not null,
    started_at integer not null,
    child integer not null,
    -- How many fenced transactions of this run were committed: by it, a lost answer is read back.
    commits integer not null default 0,
    trial integer not null default 0
) strict;
create index {prefix}running_node on {prefix}running (node, status);

-- Neither claimable nor held nor over. due_at is the wake_at of those that wake by themselves.
create table {prefix}parked (
    id blob not null primary key,
    lane blob not null,
    kind integer not null,
    priority integer not null,
    status integer not null,
    returns_to integer,
    wake_at integer,
    due_at integer,
    attempt integer not null,
    failures integer not null,
    crashes integer not null,
    ready_at integer not null,
    forced integer not null,
    awaited integer not null,
    child integer not null,
    ended_by blob
) strict;
create index {prefix}parked_due on {prefix}parked (due_at) where due_at is not null;

-- Over. Deleted ones stay for a day, as tombstones.
create table {prefix}done (
    id blob not null primary key,
    status integer not null,
    run_id blob,
    node blob,
    started_at integer,
    finished_at integer not null,
    ready_at integer not null,
    attempt integer not null,
    failures integer not null,
    crashes integer not null,
    output blob
) strict;
create index {prefix}done_finished on {prefix}done (status, finished_at);

create table {prefix}checkpoint (
    task_id blob not null primary key,
    run_id blob not null,
    saved_at integer not null,
    data blob,
    done integer,
    total integer
) strict;

create table {prefix}failure (
    task_id blob not null,
    attempt integer not null,
    failed_at integer not null,
    error text not null,
    primary key (task_id, attempt)
) strict, without rowid;

-- Children that are over, for the parents that wait for them.
create table {prefix}inbox (
    task_id blob not null,
    source blob not null,
    arrived_at integer not null,
    seen integer not null,
    primary key (task_id, source)
) strict, without rowid;
create index {prefix}inbox_unseen on {prefix}inbox (task_id) where seen = 0;

create table {prefix}node (
    id blob not null primary key,
    label text not null,
    started_at integer not null,
    seq integer not null,
    ttl_ms integer not null,
    lease_until integer not null,
    alive integer not null,
    slots integer not null,
    died_at integer
) strict;
create index {prefix}node_ring on {prefix}node (alive, id);

create table {prefix}kind (
    id integer not null primary key,
    name text not null,
    rules text not null
) strict;

-- Operations that may be repeated under their ids, for a day: a row for each task with the answer in a, b, c; and, once a whole
-- filter has been gone through, a row without a task and with the sums.
create table {prefix}op (
    id blob not null,
    task_id blob not null,
    wish text not null,
    a integer not null,
    b integer not null,
    c integer not null,
    asked_at integer not null,
    primary key (id, task_id)
) strict, without rowid;
create index {prefix}op_asked on {prefix}op (asked_at);

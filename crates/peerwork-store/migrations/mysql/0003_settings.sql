-- Each statement may be run again: MariaDB ends a transaction at each of them.

-- What is set for groups, users and kinds. Whoever claims under a setting raises its seq, so that claims under it take turns.
create table if not exists {prefix}setting (
    id bigint not null primary key,
    sort smallint not null,
    name varbinary(255) not null,
    user_name varbinary(255) not null,
    spec blob not null,
    seq bigint not null,
    full_at bigint not null,
    unsettled bigint
) engine=InnoDB;

-- One row, once something was set: the version rises with every change of a setting, from 0.
create table if not exists {prefix}config (
    id smallint not null primary key,
    version bigint not null,
    policy blob
) engine=InnoDB;

-- The settings by which a running task is counted; null where nothing is limited. MySQL, which does not know the condition, runs
-- the statement once or, after a crash in the middle, tells that the column is there.
alter table {prefix}running
    add column /*M! if not exists */ lim_group bigint,
    add column /*M! if not exists */ lim_user bigint,
    add column /*M! if not exists */ lim_lane bigint,
    add column /*M! if not exists */ lim_kind bigint,
    add key /*M! if not exists */ {prefix}running_lim_group (lim_group),
    add key /*M! if not exists */ {prefix}running_lim_user (lim_user),
    add key /*M! if not exists */ {prefix}running_lim_lane (lim_lane),
    add key /*M! if not exists */ {prefix}running_lim_kind (lim_kind);

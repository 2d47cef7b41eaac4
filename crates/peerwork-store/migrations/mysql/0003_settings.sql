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

-- The settings by which a running task is counted; null where nothing is limited. One index for all four, behind what tells whether there is
-- any: each further one would cost every task that runs. MySQL, which does not know the condition, runs the statement once or, after a crash
-- in the middle, tells that the column is there.
alter table {prefix}running
    add column /*M! if not exists */ lim_group bigint,
    add column /*M! if not exists */ lim_user bigint,
    add column /*M! if not exists */ lim_lane bigint,
    add column /*M! if not exists */ lim_kind bigint,
    add column /*M! if not exists */ limited smallint
        as (case when coalesce(lim_group, lim_user, lim_lane, lim_kind) is null then null else 1 end) stored,
    add key /*M! if not exists */ {prefix}running_limited (limited, lim_group, lim_user, lim_lane, lim_kind);

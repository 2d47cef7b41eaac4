-- What is set for groups, users and kinds. Whoever claims under a setting raises its seq, so that claims under it take turns.
create table {schema}{prefix}setting (
    id bigint not null primary key,
    sort smallint not null,
    name text collate "C" not null,
    user_name text collate "C" not null,
    spec text not null,
    seq bigint not null,
    full_at bigint not null,
    unsettled bigint
) with (fillfactor = 50);

-- One row, once something was set: the version rises with every change of a setting, from 0.
create table {schema}{prefix}config (
    id smallint not null primary key,
    version bigint not null,
    policy text
);

-- The settings by which a running task is counted; null where nothing is limited.
alter table {schema}{prefix}running
    add column lim_group bigint,
    add column lim_user bigint,
    add column lim_lane bigint,
    add column lim_kind bigint;
create index {prefix}running_lim_group on {schema}{prefix}running (lim_group) where lim_group is not null;
create index {prefix}running_lim_user on {schema}{prefix}running (lim_user) where lim_user is not null;
create index {prefix}running_lim_lane on {schema}{prefix}running (lim_lane) where lim_lane is not null;
create index {prefix}running_lim_kind on {schema}{prefix}running (lim_kind) where lim_kind is not null;

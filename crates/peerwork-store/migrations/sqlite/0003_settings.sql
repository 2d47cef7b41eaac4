-- What is set for groups, users and kinds. Whoever claims under a setting raises its seq, so that claims under it take turns.
create table {prefix}setting (
    id integer not null primary key,
    sort integer not null,
    name text not null,
    user_name text not null,
    spec text not null,
    seq integer not null,
    full_at integer not null,
    unsettled integer
) strict;

-- One row, once something was set: the version rises with every change of a setting, from 0.
create table {prefix}config (
    id integer not null primary key,
    version integer not null,
    policy text
) strict;

-- The settings by which a running task is counted; null where nothing is limited.
alter table {prefix}running add column lim_group integer;
alter table {prefix}running add column lim_user integer;
alter table {prefix}running add column lim_lane integer;
alter table {prefix}running add column lim_kind integer;
create index {prefix}running_lim_group on {prefix}running (lim_group) where lim_group is not null;
create index {prefix}running_lim_user on {prefix}running (lim_user) where lim_user is not null;
create index {prefix}running_lim_lane on {prefix}running (lim_lane) where lim_lane is not null;
create index {prefix}running_lim_kind on {prefix}running (lim_kind) where lim_kind is not null;

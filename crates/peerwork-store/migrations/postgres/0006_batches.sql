-- A large claim is one row instead of one for each of its tasks. Each of `ids` is in none of the four places, or has ended in `done`;
-- whatever else is to happen to one of them happens after all that have not ended have got rows in `running`, and this one is gone.
create table {schema}{prefix}batch (
    run_id uuid not null primary key,
    node uuid not null,
    started_at bigint not null,
    -- How many of them have not ended.
    open bigint not null,
    ids uuid[] not null,
    lanes uuid[] not null,
    kinds bigint[] not null,
    ready_ats bigint[] not null
);
-- Ids do not get smaller.
alter table {schema}{prefix}batch alter column ids set storage external;
alter table {schema}{prefix}batch alter column lanes set storage external;
alter table {schema}{prefix}batch alter column kinds set storage external;
alter table {schema}{prefix}batch alter column ready_ats set storage external;

-- Tasks of nobody in particular, or in no group, are found by their time: to enter each of them in these too costs a fifth of its creation.
drop index {prefix}task_usr;
create index {prefix}task_usr on {prefix}task (usr, created_at, id) where usr <> '';
drop index {prefix}task_grp;
create index {prefix}task_grp on {prefix}task (grp, created_at, id) where grp <> '';

-- Nothing but tombstones (status 16) is looked for by the time of its end.
drop index {prefix}done_finished;
create index {prefix}done_tombs on {prefix}done (finished_at) where status = 16;

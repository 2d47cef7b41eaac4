-- The kinds that a node has, by their keys, as JSON; null from nodes of earlier versions, which do not tell. MySQL, which does not know
-- the condition, runs the statement once or, after a crash in the middle, tells that the column is there.
alter table {prefix}node add column /*M! if not exists */ kinds blob;

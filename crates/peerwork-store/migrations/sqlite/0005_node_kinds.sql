-- The kinds that a node has, by their keys, as JSON; null from nodes of earlier versions, which do not tell.
alter table {prefix}node add column kinds text;

-- name: w
-- route: DELETE /w/{id}
-- param: id int = 1
-- ttl: 5m
-- max_staleness: 1s
-- depends: t()
DROP TABLE t

-- name: s
-- route: GET /s
-- result: one
-- depends: t()
SELECT 1 -- ttl: a remark behind SQL is nobody's annotation
-- ttl: 10m

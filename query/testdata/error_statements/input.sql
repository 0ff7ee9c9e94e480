-- name: s
-- route: GET /s
-- param: unused int
-- result: one
-- depends: t()
SELECT $1, $2;
-- fine: a remark
SELECT 2

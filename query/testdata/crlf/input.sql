-- name: crlf
-- route: GET /
-- param: id bigint
-- result: one
-- depends: t(id)
SELECT *
FROM t
WHERE id = :id

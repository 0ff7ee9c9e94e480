-- name: r
-- route: GET /{a}/:a
-- param: a int
-- result: one
-- depends: t(a)
SELECT :a

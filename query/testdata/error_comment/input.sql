-- name: s
-- route: GET /s
-- result: one
-- depends: t()
SELECT 1 /* a /* b */

-- name: r
-- route: GET /r
-- example: /s
UPDATE t SET x = 1

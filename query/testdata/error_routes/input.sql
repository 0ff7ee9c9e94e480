-- name: r
-- route: GET /a//b
SELECT 1

-- name: s
SELECT ÿ
-- name: blog_by_id
-- route: GET /blogs/{id}
-- param: id bigint, min 1
-- result: one
-- ttl: 10m
-- doc: One blog, whole.
-- example: /blogs/1
SELECT id, slug, title, content, status, tags, author, views, created_at, updated_at
FROM blogs
WHERE id = :id

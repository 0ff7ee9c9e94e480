-- name: blog_by_slug
-- route: GET /blogs/slug/{slug}
-- param: slug text, max_len 200
-- result: one
-- ttl: 10m
-- doc: One blog by its name in the URL.
-- example: /blogs/slug/a-practical-guide-to-binary-search
SELECT id, slug, title, content, status, tags, author, views, created_at, updated_at
FROM blogs
WHERE slug = :slug

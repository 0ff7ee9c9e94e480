-- name: blog_list
-- route: GET /blogs
-- param: status text = 'published'
-- param: limit int = 50, min 1, max 50
-- param: offset int = 0, min 0
-- result: many
-- ttl: 10m
-- doc: The newest blogs of one status, shortened.
-- example: /blogs?limit=5
SELECT id, slug, title, left(content, 200) AS excerpt, tags, author, views, created_at
FROM blogs
WHERE status = :status
ORDER BY created_at DESC, id DESC
LIMIT :limit OFFSET :offset

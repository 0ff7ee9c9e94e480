-- name: blogs_by_author
-- route: GET /authors/{author}/blogs
-- param: author text, max_len 100
-- param: limit int = 20, min 1, max 50
-- param: offset int = 0, min 0
-- result: many
-- doc: What one author has published, newest first.
-- example: /authors/amina-okafor/blogs
SELECT id, slug, title, left(content, 200) AS excerpt, tags, views, created_at
FROM blogs
WHERE author = :author AND status = 'published'
ORDER BY created_at DESC, id DESC
LIMIT :limit OFFSET :offset

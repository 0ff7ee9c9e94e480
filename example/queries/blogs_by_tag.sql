-- name: blogs_by_tag
-- route: GET /tags/{tag}/blogs
-- param: tag text, max_len 100
-- param: limit int = 20, min 1, max 50
-- param: offset int = 0, min 0
-- result: many
-- doc: Published blogs that carry a tag, newest first.
-- example: /tags/sql/blogs

-- A blog has several tags, so no column of it equals the tag that is asked for: any change of the table may matter.
SELECT id, slug, title, left(content, 200) AS excerpt, tags, author, views, created_at
FROM blogs
WHERE tags @> ARRAY[:tag] AND status = 'published'
ORDER BY created_at DESC, id DESC
LIMIT :limit OFFSET :offset

-- name: blog_delete
-- route: DELETE /blogs/{id}
-- param: id bigint, min 1
-- result: one
-- doc: Delete a blog.
DELETE FROM blogs
WHERE id = :id
RETURNING id, slug

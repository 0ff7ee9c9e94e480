-- name: blog_update
-- route: PATCH /blogs/{id}
-- param: id bigint, min 1
-- param: title text, min_len 1, max_len 300, optional
-- param: slug text, min_len 1, max_len 200, optional
-- param: content text, max_len 100000, optional
-- param: status text, one of draft|published|archived, optional
-- param: tags text[], max 20, min_len 1, max_len 100, optional
-- result: one
-- doc: Change what is given of a blog, and leave the rest.
UPDATE blogs
SET title = coalesce(:title, title),
    slug = coalesce(:slug, slug),
    content = coalesce(:content, content),
    status = coalesce(:status, status),
    tags = coalesce(:tags, tags),
    updated_at = now()
WHERE id = :id
RETURNING id, slug, title, content, status, tags, author, views, created_at, updated_at

-- name: blog_create
-- route: POST /blogs
-- param: title text, min_len 1, max_len 300
-- param: slug text, min_len 1, max_len 200
-- param: content text, max_len 100000
-- param: author text, min_len 1, max_len 100
-- param: status text = 'draft', one of draft|published|archived
-- param: tags text[] = '', max 20, min_len 1, max_len 100
-- result: one
-- doc: Write a blog.
INSERT INTO blogs (title, slug, content, author, status, tags)
VALUES (:title, :slug, :content, :author, :status, :tags)
RETURNING id, slug, title, content, status, tags, author, views, created_at, updated_at

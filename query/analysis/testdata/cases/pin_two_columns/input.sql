SELECT title FROM blogs WHERE status = 'published' AND author = $1::text

SELECT title FROM blogs WHERE id = 1 ORDER BY created_at

SELECT DISTINCT ON (author) title FROM blogs WHERE status = 'a' ORDER BY author, created_at

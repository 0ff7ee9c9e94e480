SELECT title, sum(views) OVER w FROM blogs WHERE id = 1 WINDOW w AS (PARTITION BY status ORDER BY created_at)

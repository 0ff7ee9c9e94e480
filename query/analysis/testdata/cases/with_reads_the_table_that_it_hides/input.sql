WITH blogs AS (SELECT id, title FROM blogs WHERE status = 'a') SELECT title FROM blogs WHERE id = 1

SELECT title FROM blogs WHERE created_at > now() - interval '1 day'

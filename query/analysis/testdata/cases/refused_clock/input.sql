SELECT title FROM blogs WHERE created_at < clock_timestamp()

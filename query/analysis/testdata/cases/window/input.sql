SELECT title, rank() OVER (PARTITION BY author ORDER BY views) FROM blogs WHERE status = 'a'

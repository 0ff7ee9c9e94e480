SELECT title FROM blogs WHERE status IN ('a', 'b')

SELECT title FROM blogs WHERE status = ANY ('{a,b}')

SELECT title FROM blogs WHERE status <> 'a'

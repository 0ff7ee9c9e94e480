SELECT max(views), count(DISTINCT author) FROM blogs WHERE status = 'a'

SELECT DISTINCT author FROM blogs WHERE status = 'a'

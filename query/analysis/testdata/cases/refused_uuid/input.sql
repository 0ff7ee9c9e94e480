SELECT title FROM blogs WHERE id = 1 ORDER BY gen_random_uuid()

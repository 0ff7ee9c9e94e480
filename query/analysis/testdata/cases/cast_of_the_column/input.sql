SELECT title FROM blogs WHERE id::text = '1'

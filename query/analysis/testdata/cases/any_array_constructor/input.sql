SELECT title FROM blogs WHERE id = ANY (ARRAY[1, 2])

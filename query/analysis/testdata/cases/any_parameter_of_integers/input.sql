SELECT title FROM blogs WHERE id = ANY ($1::bigint[])

SELECT title FROM blogs WHERE status <> ANY ($1::text[])

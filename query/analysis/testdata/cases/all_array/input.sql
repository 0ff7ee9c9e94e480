SELECT title FROM blogs WHERE status = ALL ($1::text[])

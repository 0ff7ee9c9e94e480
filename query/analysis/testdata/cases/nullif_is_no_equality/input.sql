SELECT title FROM blogs WHERE NULLIF(draft, true)

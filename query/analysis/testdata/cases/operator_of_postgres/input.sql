SELECT title FROM blogs WHERE id OPERATOR(pg_catalog.=) 1

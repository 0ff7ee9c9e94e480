SELECT title FROM blogs WHERE slug IN ('a', author)

SELECT title FROM blogs WHERE NOT (NOT draft)

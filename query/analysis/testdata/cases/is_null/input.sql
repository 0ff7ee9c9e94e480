SELECT title FROM blogs WHERE author IS NULL

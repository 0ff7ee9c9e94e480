SELECT title FROM blogs WHERE author = (SELECT handle FROM users WHERE id = 3)

SELECT title FROM blogs WHERE author NOT IN (SELECT handle FROM users WHERE NOT active)

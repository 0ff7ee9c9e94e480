SELECT title FROM blogs WHERE author IN (SELECT handle FROM users WHERE active)

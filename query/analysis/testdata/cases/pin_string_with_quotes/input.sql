SELECT title FROM blogs WHERE author = 'O''Hara'

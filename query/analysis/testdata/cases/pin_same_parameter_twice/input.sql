SELECT title FROM blogs WHERE author = $1::text AND slug = $1::text

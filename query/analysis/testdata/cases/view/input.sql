SELECT title FROM published WHERE author = $1::text

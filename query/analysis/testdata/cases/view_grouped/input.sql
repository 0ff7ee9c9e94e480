SELECT n FROM per_author WHERE author = 'k'

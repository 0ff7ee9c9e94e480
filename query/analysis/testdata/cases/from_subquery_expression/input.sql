SELECT 1 FROM (SELECT lower(author) AS author FROM blogs) x WHERE author = 'k'

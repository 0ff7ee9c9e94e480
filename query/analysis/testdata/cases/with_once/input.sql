WITH x AS (SELECT id, author FROM blogs) SELECT id FROM x WHERE author = $1::text

WITH x AS MATERIALIZED (SELECT id, author FROM blogs) SELECT id FROM x WHERE author = 'k'

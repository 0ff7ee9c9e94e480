WITH x(a, b) AS (SELECT id, author FROM blogs) SELECT a FROM x WHERE b = 'k'

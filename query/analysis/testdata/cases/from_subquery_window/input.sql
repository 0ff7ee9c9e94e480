SELECT x.r FROM (SELECT author, rank() OVER (ORDER BY views) AS r FROM blogs) x WHERE x.author = 'k'

SELECT x.r FROM (SELECT author, rank() OVER w AS r FROM blogs WINDOW w AS (ORDER BY views)) x WHERE x.author = 'k'

SELECT x.n FROM (SELECT author, count(*) AS n FROM blogs GROUP BY author) x WHERE x.n = 5

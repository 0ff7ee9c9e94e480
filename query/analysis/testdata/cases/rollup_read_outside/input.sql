SELECT x.n FROM (SELECT author, count(*) AS n FROM blogs GROUP BY ROLLUP (author)) x WHERE x.author = 'k'

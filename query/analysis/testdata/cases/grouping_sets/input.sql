SELECT author, status, count(*) FROM blogs WHERE draft GROUP BY GROUPING SETS ((author), (status), ())

SELECT x.title FROM (SELECT title FROM blogs FOR SHARE) x

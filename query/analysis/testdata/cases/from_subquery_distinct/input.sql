SELECT x.author FROM (SELECT DISTINCT author, status FROM blogs) x WHERE x.author = 'k'

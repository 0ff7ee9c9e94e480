SELECT x.title FROM (SELECT * FROM blogs) x WHERE x.id = 1

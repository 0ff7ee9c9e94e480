SELECT * FROM (SELECT id, author AS who FROM blogs) x WHERE x.who = $1::text

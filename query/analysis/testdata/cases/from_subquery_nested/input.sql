SELECT y.i FROM (SELECT x.id AS i, x.status AS s FROM (SELECT id, status FROM blogs WHERE draft) x) y WHERE y.s = 'a'

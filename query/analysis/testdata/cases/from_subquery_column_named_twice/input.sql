SELECT y.k2 FROM (SELECT x.* FROM (SELECT a.id, b.id FROM blogs a, users b) x) y(k1, k2) WHERE y.k2 = 5

SELECT b.title FROM (VALUES (1), (2)) v(n) JOIN blogs b ON b.id = v.n

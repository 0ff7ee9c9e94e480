SELECT x.a FROM (SELECT id, author FROM blogs) x(a, b) WHERE x.b = 'k'

SELECT x.a FROM (SELECT id, author FROM blogs) x(a) WHERE author = 'k'

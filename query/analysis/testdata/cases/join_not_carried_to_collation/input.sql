SELECT 1 FROM blogs b JOIN kinds k ON k.ci = b.author WHERE b.author = 'x'

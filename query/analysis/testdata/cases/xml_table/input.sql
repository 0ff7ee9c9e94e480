SELECT x.n FROM blogs b, XMLTABLE('/a' PASSING (b.title::xml) COLUMNS n int PATH 'n') x WHERE b.id = 1

SELECT y.title FROM blogs x JOIN blogs y ON y.id = x.id WHERE x.id = 1 AND y.views = 2

SELECT y.title FROM blogs x JOIN blogs y ON y.status = x.slug WHERE x.id = 1 AND y.id = 2

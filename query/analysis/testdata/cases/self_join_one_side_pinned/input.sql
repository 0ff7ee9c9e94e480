SELECT y.title FROM blogs x JOIN blogs y ON y.author = x.author WHERE x.id = $1::bigint

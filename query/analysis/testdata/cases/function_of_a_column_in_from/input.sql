SELECT b.title FROM blogs b, unnest(b.tags) AS t(tag) WHERE t.tag = $1::text AND b.id = 1

SELECT j.slug FROM (blogs b JOIN users u ON u.handle = b.author) AS j WHERE j.slug = 'x'

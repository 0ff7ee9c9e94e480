SELECT id FROM blogs WHERE author = 'x' UNION ALL SELECT views FROM blogs

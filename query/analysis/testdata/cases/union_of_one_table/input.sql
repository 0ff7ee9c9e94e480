SELECT id FROM blogs WHERE author = 'x' UNION ALL SELECT id FROM blogs WHERE status = 'a'

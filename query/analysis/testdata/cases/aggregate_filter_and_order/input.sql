SELECT string_agg(title, ',' ORDER BY created_at) FILTER (WHERE draft) FROM blogs WHERE author = 'k'

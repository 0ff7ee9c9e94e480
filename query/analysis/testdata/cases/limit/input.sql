SELECT id FROM blogs WHERE status = 'published' ORDER BY created_at DESC LIMIT $1::int OFFSET $2::int

SELECT id FROM kinds WHERE si = $1::int

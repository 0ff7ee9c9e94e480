SELECT k FROM by_key WHERE id = $1::int

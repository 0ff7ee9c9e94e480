SELECT id FROM kinds WHERE tz = $1::timestamptz

SELECT id FROM kinds WHERE m IN ('happy', $1::mood)

SELECT id FROM kinds WHERE u = $1::uuid

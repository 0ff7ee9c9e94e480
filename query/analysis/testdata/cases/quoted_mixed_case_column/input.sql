SELECT id FROM kinds WHERE "Key" = 'x'

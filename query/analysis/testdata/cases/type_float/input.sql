SELECT id FROM kinds WHERE f = 1

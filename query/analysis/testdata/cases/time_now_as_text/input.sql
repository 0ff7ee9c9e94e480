SELECT id FROM kinds WHERE t = 'now'

SELECT id FROM kinds WHERE ci = 'a'

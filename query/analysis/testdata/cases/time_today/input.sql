SELECT id FROM kinds WHERE d = 'today'

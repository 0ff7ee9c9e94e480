SELECT id FROM kinds WHERE c = 'abc'

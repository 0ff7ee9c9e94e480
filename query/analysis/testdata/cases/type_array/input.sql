SELECT id FROM kinds WHERE arr = '{a}'

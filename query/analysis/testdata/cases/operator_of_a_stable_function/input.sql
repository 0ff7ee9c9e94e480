SELECT id FROM kinds WHERE id ### 3

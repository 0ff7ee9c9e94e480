SELECT id FROM kinds WHERE m = 'happy'

SELECT id FROM kinds WHERE m::text = 'happy'

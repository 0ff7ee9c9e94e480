SELECT id FROM kinds WHERE m = $1::mood

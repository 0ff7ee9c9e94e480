SELECT id FROM fleeting

SELECT count(*) FROM sales WHERE region = 'east'

SELECT b.id FROM sales s JOIN blogs b USING (id) WHERE s.tableoid <> 0 AND s.region = 'east'

SELECT k FROM sales WHERE region IN ('east', 'west')

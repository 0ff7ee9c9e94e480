SELECT s.ctid FROM sales s

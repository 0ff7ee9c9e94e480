SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY views) FROM blogs WHERE author = 'k'

SELECT id FROM kinds WHERE j = '{}' AND j ->> 'k' = 'v'

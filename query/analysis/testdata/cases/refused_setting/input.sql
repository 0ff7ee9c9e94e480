SELECT current_setting('work_mem')

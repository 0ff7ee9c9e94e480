SELECT table_to_xml('blogs', true, true, '')

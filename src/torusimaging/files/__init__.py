"""Files of tables: every reader, paths, atomic writing and locks."""

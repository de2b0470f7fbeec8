"""Rules without I/O: no trio, no files, and no clock but an argument."""

"""SQL, and nothing else: opening the file, and one function for each question."""

"""How fast, as ratios: real processes, alternating sides, medians of several rounds."""

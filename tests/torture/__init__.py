"""Attacks on the real process, with as many rounds as asked; the suite runs a few of each."""

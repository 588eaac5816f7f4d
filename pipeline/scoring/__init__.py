"""Scoring: every row of a file of any size answered, in bounded memory."""

"""A Comparison -> one HTML file that needs nothing else. No torch here."""

"""What is kept of a run, and where. No torch here."""

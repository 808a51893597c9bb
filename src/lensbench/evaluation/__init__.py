"""Predictions -> numbers with intervals. No torch here."""

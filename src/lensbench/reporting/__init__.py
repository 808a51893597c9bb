"""A Comparison -> CSV tables, plots and a page, under the contract's file names. No torch here."""

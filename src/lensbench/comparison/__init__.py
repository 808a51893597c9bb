"""Many runs -> one verdict. No torch here."""

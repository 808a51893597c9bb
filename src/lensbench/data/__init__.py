"""Files -> Catalogue -> Pack and Split -> batches."""

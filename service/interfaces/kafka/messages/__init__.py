"""What messages hold: rows by any spelling, read together where they can be, and their names."""

"""Other protocols on the same core as /score."""

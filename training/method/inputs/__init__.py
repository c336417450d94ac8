"""From raw columns to what the network reads, all of it part of the exported graph."""
